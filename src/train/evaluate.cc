#include "train/evaluate.h"

#include <algorithm>
#include <numbers>

#include "kernels/memory.h"

namespace strait::train {

EvalResult evaluate(Engine& engine, const input::EvalLoader& loader,
                    const input::Tokenizer& tokenizer, std::int64_t max_sequences) {
  parallel::Ctx& ctx = engine.ctx();
  const std::int64_t windows =
      max_sequences > 0 ? std::min(max_sequences, loader.windows()) : loader.windows();
  const std::int64_t per_batch = engine.micro_batch(), ranks = engine.mesh().dp;
  input::Samples samples;
  std::int64_t counts[2] = {0, 0};  // labels, bytes of their text
  engine.model().begin_step(ctx);
  for (std::int64_t batch = engine.mesh().dp_rank; batch * per_batch < windows; batch += ranks) {
    const std::int64_t first = batch * per_batch;
    loader.batch(first, std::min(per_batch, windows - first), samples);
    ctx.tokens = &engine.shard().load(samples.ids, samples.labels, samples.doc_pos, ctx.stream);
    engine.model().evaluate(ctx);
    counts[0] += input::counted_labels(samples);
    counts[1] += input::label_bytes(samples, tokenizer);
  }
  auto& group = ctx.groups.axis(core::Axis::dp);
  group.all_reduce_sum(engine.model().loss_sum(), ctx.stream);
  group.all_reduce_sum(Tensor(counts, DType::i64, {2}), Stream{});
  double sum = 0;
  kernels::copy_to_host(&sum, engine.model().loss_sum().data, sizeof sum, ctx.stream);
  kernels::synchronise(ctx.stream);
  return {.loss = sum / static_cast<double>(std::max<std::int64_t>(counts[0], 1)),
          .bits_per_byte =
              sum / (std::numbers::ln2 * static_cast<double>(std::max<std::int64_t>(counts[1], 1))),
          .labels = counts[0]};
}

}  // namespace strait::train
