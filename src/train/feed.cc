#include "train/feed.h"

#include "model/counts.h"

namespace strait::train {

void Feed::count(const config::Attention& attention) {
  totals_[0] = static_cast<double>(input::counted_labels(samples_));
  totals_[1] = 0;
  const std::vector<std::int32_t>& at = samples_.doc_pos;
  for (std::size_t begin = 0; begin < at.size();) {
    std::size_t end = begin + 1;
    while (end < at.size() && at[end] != 0) ++end;
    for (std::size_t t = begin; t < end; ++t) {
      totals_[1] += model::pairs_of(attention, at[t], static_cast<double>(end - begin));
    }
    begin = end;
  }
}

void Feed::begin(Engine& engine, const input::Loader& loader, std::int64_t step) {
  const std::int64_t share = engine.micro_batch() * engine.micro_batches();
  loader.batch(step, engine.mesh().dp_rank * share, share, samples_);
  count(engine.config().model.attention);
  engine.ctx()
      .groups.axis(core::Axis::dp)
      .all_reduce_sum(Tensor(totals_, DType::f64, {2}), Stream{});
}

const parallel::TokenBatch& Feed::micro_batch(Engine& engine, std::int64_t i) {
  const auto n = static_cast<std::size_t>(engine.micro_batch() * samples_.seq_len);
  const auto part = [&](const std::vector<std::int32_t>& all) {
    return std::span(all).subspan(static_cast<std::size_t>(i) * n, n);
  };
  return engine.shard().load(part(samples_.ids), part(samples_.labels), part(samples_.doc_pos),
                             engine.ctx().stream);
}

}  // namespace strait::train
