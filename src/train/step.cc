#include "train/step.h"

#include "kernels/elementwise.h"
#include "optim/adamw.h"
#include "parallel/grad_sync.h"

namespace strait::train {

StepOutput run_step(Engine& engine, const StepInput& input) {
  parallel::Ctx& ctx = engine.ctx();
  core::ParamTable& table = engine.table();
  model::Transformer& model = engine.model();
  ctx.scale = input.scale;

  kernels::launch(kernels::Fill{.x = table.flat_grads(), .value = 0}, ctx.stream);
  model.begin_step(ctx);
  for (std::int64_t i = 0; i < input.micro_batches; ++i) {
    ctx.tokens = &input.micro_batch(i);
    model.forward_backward(ctx);
  }
  parallel::sum_gradients(table, ctx.groups, ctx.stream);
  model.end_step(ctx);

  const optim::Clip clip = optim::clip_gradients(table, ctx, engine.config().optim.clip_norm);
  optim::adamw_step(table, engine.config().optim, input.lr, input.step, clip.scale, ctx);

  for (const core::Axis axis : {core::Axis::dp, core::Axis::cp}) {
    ctx.groups.axis(axis).all_reduce_sum(model.loss_sum(), ctx.stream);
  }
  return {model.loss_sum(), clip};
}

}  // namespace strait::train
