#include "layers/dense_ffn.h"

#include "kernels/activation.h"
#include "kernels/elementwise.h"
#include "parallel/tensor_split.h"

namespace strait::layers {

using kernels::launch;

DenseFfn::DenseFfn(const Build& build, const std::string& name, std::int64_t width)
    : width_(width / build.mesh.tp),
      gate_up_(build, {.name = name + ".gate_up",
                       .in = build.model.d_model,
                       .out = 2 * width,
                       .sections = {{name + ".gate.weight", width}, {name + ".up.weight", width}},
                       .shard = build.over_tensor(0),
                       .std = build.model.init_std}),
      down_(build, {.name = name + ".down",
                    .in = width,
                    .out = build.model.d_model,
                    .shard = build.over_tensor(1),
                    .std = build.output_std()}) {}

void DenseFfn::forward(Ctx& ctx, ConstTensor x, Tensor y) {
  const std::int64_t tokens = ctx.tokens->tokens();
  saved_ = {x, ctx.saved.take(x.dtype, {tokens, 2 * width_}),
            ctx.saved.take(x.dtype, {tokens, width_})};
  const core::Frame frame(ctx.scratch);
  gate_up_.forward_of_rows(ctx, x, saved_.gate_up);
  launch(kernels::SwigluFwd{.gate_up = saved_.gate_up, .y = saved_.hidden}, ctx.stream);
  down_.forward_to_rows(ctx, saved_.hidden, y);
}

Tensor DenseFfn::backward_hidden(Ctx& ctx, ConstTensor dy) {
  const std::int64_t tokens = ctx.tokens->tokens();
  const Tensor dhidden = ctx.scratch.take(dy.dtype, {tokens, width_});
  const Tensor dgate_up = ctx.scratch.take(dy.dtype, {tokens, 2 * width_});
  down_.backward_of_rows(ctx, saved_.hidden, dy, dhidden);
  launch(kernels::SwigluBwd{.dy = dhidden, .gate_up = saved_.gate_up, .dgate_up = dgate_up},
         ctx.stream);
  return dgate_up;
}

void DenseFfn::backward(Ctx& ctx, ConstTensor dy, Tensor dx) {
  const core::Frame frame(ctx.scratch);
  const Tensor dgate_up = backward_hidden(ctx, dy);
  const ConstTensor x = parallel::whole_rows_beside(ctx, saved_.x);
  gate_up_.backward_to_rows(ctx, x, dgate_up, dx);
}

void DenseFfn::backward_add(Ctx& ctx, ConstTensor dy, Tensor dx) {
  const core::Frame frame(ctx.scratch);
  if (ctx.groups.axis(core::Axis::tp).alone()) {
    return gate_up_.backward_add(ctx, saved_.x, backward_hidden(ctx, dy), dx);
  }
  const Tensor own = ctx.scratch.take(dx.dtype, {dx.shape[0], dx.shape[1]});
  backward(ctx, dy, own);
  launch(kernels::Add{.a = dx, .b = own, .y = dx}, ctx.stream);
}

}  // namespace strait::layers
