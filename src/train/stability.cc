#include "train/stability.h"

#include <algorithm>

#include "train/stability_probe.h"

namespace strait::train {
namespace {

/// Sets ctx.probe while it lives.
class Watch {
 public:
  Watch(parallel::Ctx& ctx, parallel::Probe& probe) : ctx_(ctx) { ctx.probe = &probe; }
  ~Watch() { ctx_.probe = nullptr; }
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

 private:
  parallel::Ctx& ctx_;
};

}  // namespace

Stability measure_stability(Engine& engine) {
  parallel::Ctx& ctx = engine.ctx();
  StabilityProbe probe(ctx, engine.config().model.n_layers);
  {
    const Watch watch(ctx, probe);
    engine.model().begin_step(ctx);
    engine.model().evaluate(ctx);
  }
  return probe.result();
}

Stability measure_stability(Engine& engine, const input::EvalLoader& loader) {
  constexpr std::int64_t kTokens = 4096;
  parallel::Ctx& ctx = engine.ctx();
  const std::int64_t fit = std::max<std::int64_t>(kTokens / engine.config().data.seq_len, 1);
  const std::int64_t sequences = std::min({engine.micro_batch(), fit, loader.windows()});
  input::Samples samples;
  loader.batch(0, sequences, samples);
  ctx.tokens = &engine.shard().load(samples.ids, samples.labels, samples.doc_pos, ctx.stream);
  return measure_stability(engine);
}

}  // namespace strait::train
