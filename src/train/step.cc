#include "train/step.h"

#include <algorithm>

#include "kernels/elementwise.h"
#include "kernels/optimizer.h"
#include "kernels/profile.h"

namespace strait::train {

Step::Step(Engine& engine)
    : engine_(engine),
      update_(engine.table(), engine.config().optim),
      sync_(engine.table(), engine.ctx().groups, engine.ctx().stream.device,
            engine.config().parallel, engine.ctx().peers),
      values_(engine.ctx().stream.device, 2 * sizeof(StepValues)) {}

StepOutput Step::run(const StepInput& input) {
  engine_.ctx().groups.traffic().at_step(input.step);
  load_values(input);
  engine_.table().begin_gradients();
  parallel::Ctx& ctx = engine_.ctx();
  // Sums over ranks that pass through the host cannot be captured; what they follow then runs anew
  // too, since it takes the step state that they go on from.
  const bool repeatable = ctx.groups.capturable();
  run_part(begin_, repeatable, [&] { begin(); });
  for (std::int64_t i = 0; i < input.micro_batches; ++i) {
    ctx.tokens = &input.micro_batch(i);
    const bool last = i + 1 == input.micro_batches;
    kernels::Repeated& launches = last     ? last_micro_batch_
                                  : i == 0 ? first_micro_batch_
                                           : micro_batch_;
    run_part(launches, layers_repeat(), [&] { micro_batch(last); });
  }
  run_part(finish_, repeatable, [&] { finish(); });
  sync_.share_weights(ctx.stream);
  if (!input.goes_on) settle();
  ctx.groups.traffic().clock().read(out_.communication, ctx.stream);
  ctx.clock.lap(parallel::Phase::optimizer, ctx.stream);
  return out_;
}

void Step::micro_batch(bool last) {
  parallel::Ctx& ctx = engine_.ctx();
  ctx.sync = &sync_;
  if (last) sync_.begin();
  engine_.model().forward_backward(ctx);
  if (last) sync_.join(ctx.stream);
  ctx.sync = nullptr;
}

/// Experts of other ranks get other numbers of rows each time, which the host has to know.
bool Step::layers_repeat() const {
  const parallel::Mesh& mesh = engine_.mesh();
  if (mesh.ep > 1) return false;
  return (mesh.cp == 1 && mesh.tp == 1) || engine_.ctx().groups.capturable();
}

void Step::run_part(kernels::Repeated& launches, bool repeatable,
                    const std::function<void()>& enqueue) {
  if (!repeatable) return enqueue();
  launches.run(engine_.ctx().stream, enqueue);
}

void Step::load_values(const StepInput& input) {
  const config::Optim& optim = engine_.config().optim;
  StepValues& values = values_.as<StepValues>()[input.step % 2];
  values = {1.0 / std::max(input.labels, 1.0),
            kernels::adam_rates(input.lr, optim.beta1, optim.beta2, input.step), input.limits};
  kernels::copy_to_device(engine_.values().data, &values, sizeof values, engine_.ctx().stream);
}

void Step::begin() {
  parallel::Ctx& ctx = engine_.ctx();
  engine_.model().begin_step(ctx);
  ctx.clock.start(ctx.state, ctx.stream);
  ctx.groups.traffic().clock().start(ctx.stream);
  for (const Tensor& gradients : engine_.table().cleared_gradients()) {
    kernels::launch(kernels::Fill{.x = gradients, .value = 0}, ctx.stream);
  }
}

void Step::finish() {
  const kernels::Range range("update");
  parallel::Ctx& ctx = engine_.ctx();
  const config::Config& config = engine_.config();
  core::ParamTable& table = engine_.table();
  model::Transformer& model = engine_.model();
  sync_.finish(ctx.stream);
  model.end_step(ctx);
  out_.clip = optim::clip_gradients(table, ctx, config.optim.clip_norm);
  for (const core::Axis axis : {core::Axis::dp, core::Axis::cp}) {
    ctx.groups.axis(axis).all_reduce_sum(model.loss_sum(), ctx.stream);
  }
  out_.loss_sum = model.loss_sum();
  kernels::launch(kernels::StepGuard{.loss = out_.loss_sum,
                                     .norm = out_.clip.norm,
                                     .limits = engine_.limits(),
                                     .rates = engine_.rates()},
                  ctx.stream);
  update_.step(ctx, static_cast<std::uint64_t>(config.run.seed), engine_.rates(), out_.clip.scale);
  out_.communication = ctx.state.take(DType::i64, {1});
}

}  // namespace strait::train
