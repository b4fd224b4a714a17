#include "train/feed.h"

#include "model/counts.h"

namespace strait::train {
namespace {

kernels::HostBuffer host_blocks(Engine& engine) {
  const auto elements = engine.micro_batches() * engine.shard().block_elements();
  return kernels::HostBuffer(engine.ctx().stream.device,
                             static_cast<std::size_t>(elements) * sizeof(std::int32_t));
}

}  // namespace

Feed::Feed(Engine& engine, const input::Loader& loader)
    : engine_(engine),
      loader_(loader),
      host_{host_blocks(engine), host_blocks(engine)},
      copies_(engine.ctx().stream.device),
      filled_{kernels::Event(copies_.get().device), kernels::Event(copies_.get().device)},
      freed_{kernels::Event(copies_.get().device), kernels::Event(copies_.get().device)} {}

std::int32_t* Feed::block(std::int64_t step, std::int64_t i) const {
  return host_[step % 2].as<std::int32_t>() + i * engine_.shard().block_elements();
}

void Feed::count(std::int64_t step) {
  double totals[2] = {static_cast<double>(input::counted_labels(samples_)), 0};
  const std::vector<std::int32_t>& at = samples_.doc_pos;
  for (std::size_t begin = 0; begin < at.size();) {
    std::size_t end = begin + 1;
    while (end < at.size() && at[end] != 0) ++end;
    for (std::size_t t = begin; t < end; ++t) {
      totals[1] += model::pairs_of(engine_.config().model, at[t], static_cast<double>(end - begin));
    }
    begin = end;
  }
  engine_.ctx()
      .groups.axis(core::Axis::dp)
      .all_reduce_sum(Tensor(totals, DType::f64, {2}), Stream{});
  totals_[step % 2] = {totals[0], totals[1]};
}

void Feed::prepare(std::int64_t step) {
  const std::int64_t share = engine_.micro_batch() * engine_.micro_batches();
  loader_.batch(step + passed_over_, engine_.mesh().dp_rank * share, share, samples_);
  count(step);
  const auto n = static_cast<std::size_t>(engine_.micro_batch() * samples_.seq_len);
  for (std::int64_t i = 0; i < engine_.micro_batches(); ++i) {
    const auto part = [&](const std::vector<std::int32_t>& all) {
      return std::span(all).subspan(static_cast<std::size_t>(i) * n, n);
    };
    engine_.shard().fill(part(samples_.ids), part(samples_.labels), part(samples_.doc_pos),
                         block(step, i));
  }
}

const parallel::TokenBatch& Feed::micro_batch(std::int64_t step, std::int64_t i) {
  const auto slot = static_cast<std::size_t>(sent_++ % 2);
  const Tensor staged = engine_.staging().slice(0, static_cast<std::int64_t>(slot), 1);
  const Stream& compute = engine_.ctx().stream;
  freed_[slot].hold(copies_.get());
  kernels::copy_to_device(staged.data, block(step, i), staged.bytes(), copies_.get());
  filled_[slot].record(copies_.get());
  filled_[slot].hold(compute);
  const parallel::TokenBatch& batch = engine_.shard().take(staged, compute);
  freed_[slot].record(compute);
  return batch;
}

}  // namespace strait::train
