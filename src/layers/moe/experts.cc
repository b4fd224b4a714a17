#include "layers/moe/experts.h"

#include "kernels/activation.h"
#include "kernels/expert_swiglu.h"
#include "kernels/gemm.h"

namespace strait::layers {
namespace {

using kernels::launch;

/// Whole experts over expert ranks, or else `dim` of each over tensor ranks.
core::Shard expert_shard(const Build& build, int dim) {
  if (!build.whole_experts()) return build.over_tensor(dim);
  return {.dim = 0, .axis = core::Axis::ep, .parts = build.mesh.ep, .index = build.mesh.ep_rank};
}

core::ParamSpec gate_up_spec(const Build& build, const std::string& name) {
  const config::Moe& moe = build.model.ffn.moe;
  return {.name = name + ".gate_up.weight",
          .shape = {moe.n_experts, 2 * moe.d_expert, build.model.d_model},
          .sections = {{name + ".gate.weight", moe.d_expert}, {name + ".up.weight", moe.d_expert}},
          .section_dim = 1,
          .shard = expert_shard(build, 1),
          .init = core::Init::normal(build.model.init_std),
          .decay = true,
          .whole_grad = true,
          .group = core::OptimGroup::matrix};
}

core::ParamSpec down_spec(const Build& build, const std::string& name) {
  const config::Moe& moe = build.model.ffn.moe;
  return {.name = name + ".down.weight",
          .shape = {moe.n_experts, build.model.d_model, moe.d_expert},
          .shard = expert_shard(build, 2),
          .init = core::Init::normal(build.output_std()),
          .decay = true,
          .whole_grad = true,
          .group = core::OptimGroup::matrix};
}

void weight_gradient(Ctx& ctx, ConstTensor dy, ConstTensor x, ConstTensor offsets, core::Param& w) {
  launch(
      kernels::GroupedGemmWgrad{
          .a = dy, .b = x, .offsets = offsets, .dw = w.grad, .accumulate = w.adds_gradient()},
      ctx.stream);
}

}  // namespace

Experts::Experts(const Build& build, const std::string& name)
    : width_(build.model.ffn.moe.d_expert / (build.whole_experts() ? 1 : build.mesh.tp)),
      gate_up_(build.table.add(gate_up_spec(build, name))),
      down_(build.table.add(down_spec(build, name))) {}

void Experts::forward(Ctx& ctx, ConstTensor x, ConstTensor offsets, const Results& results) {
  keep(ctx, x.dtype, x.shape[0]);
  run(ctx, x, {offsets}, results);
}

void Experts::keep(Ctx& ctx, DType dtype, std::int64_t rows) {
  saved_ = {ctx.saved.take(dtype, {rows, 2 * width_}), ctx.saved.take(dtype, {rows, width_})};
}

void Experts::run(Ctx& ctx, ConstTensor x, const Part& part, const Results& results) const {
  const Tensor gate_up = saved_.gate_up.slice(0, part.first, x.shape[0]);
  const Tensor hidden = saved_.hidden.slice(0, part.first, x.shape[0]);
  launch(
      kernels::GroupedGemm{
          .a = x, .b = gate_up_.weight, .offsets = part.offsets, .c = gate_up, .trans_b = true},
      ctx.stream);
  launch(kernels::SwigluFwd{.gate_up = gate_up, .y = hidden}, ctx.stream);
  launch(kernels::GroupedGemm{.a = hidden,
                              .b = down_.weight,
                              .offsets = part.offsets,
                              .to = results.to,
                              .scale = results.scale,
                              .c = results.y,
                              .trans_b = true,
                              .accumulate = results.add},
         ctx.stream);
}

void Experts::backward(Ctx& ctx, ConstTensor x, ConstTensor dy, ConstTensor offsets, Tensor dx) {
  const core::Frame frame(ctx.scratch);
  const Tensor dgate_up = ctx.scratch.take(dy.dtype, {dy.shape[0], 2 * width_});
  backward_rows(ctx, dy, {offsets}, dgate_up, dx);
  backward_weights(ctx, x, dy, dgate_up, {offsets});
}

void Experts::backward_rows(Ctx& ctx, ConstTensor dy, const Part& part, Tensor dgate_up,
                            Tensor dx) const {
  const core::Frame frame(ctx.scratch);
  // The largest part may have all rows, whatever this one has.
  const Tensor dhidden = ctx.scratch.take(dy.dtype, {saved_.hidden.shape[0], width_})
                             .slice(0, part.first, dy.shape[0]);
  const Tensor gate_up = saved_.gate_up.slice(0, part.first, dy.shape[0]);
  launch(kernels::GroupedGemm{.a = dy, .b = down_.weight, .offsets = part.offsets, .c = dhidden},
         ctx.stream);
  launch(kernels::SwigluBwd{.dy = dhidden, .gate_up = gate_up, .dgate_up = dgate_up}, ctx.stream);
  launch(
      kernels::GroupedGemm{.a = dgate_up, .b = gate_up_.weight, .offsets = part.offsets, .c = dx},
      ctx.stream);
}

void Experts::backward_weights(Ctx& ctx, ConstTensor x, ConstTensor dy, ConstTensor dgate_up,
                               const Part& part) const {
  const ConstTensor hidden = saved_.hidden.slice(0, part.first, x.shape[0]);
  weight_gradient(ctx, dy, hidden, part.offsets, down_);
  weight_gradient(ctx, dgate_up, x, part.offsets, gate_up_);
}

void Experts::backward_weighted(Ctx& ctx, ConstTensor x, ConstTensor dy, ConstTensor offsets,
                                ConstTensor choice_of, ConstTensor weight, Tensor dgate_up,
                                Tensor dweight) {
  const core::Frame frame(ctx.scratch);
  const Tensor dhidden = ctx.scratch.take(dy.dtype, {dy.shape[0], width_});
  launch(kernels::GroupedGemm{.a = dy, .b = down_.weight, .offsets = offsets, .c = dhidden},
         ctx.stream);
  launch(kernels::ExpertSwigluBwd{.dy = dhidden,
                                  .gate_up = saved_.gate_up,
                                  .choice_of = choice_of,
                                  .weight = weight,
                                  .offsets = offsets,
                                  .dgate_up = dgate_up,
                                  .y = saved_.hidden,
                                  .dweight = dweight},
         ctx.stream);
  weight_gradient(ctx, dy, saved_.hidden, offsets, down_);
  weight_gradient(ctx, dgate_up, x, offsets, gate_up_);
}

void Experts::input_gradient(Ctx& ctx, ConstTensor dgate_up, ConstTensor offsets, ConstTensor to,
                             const MoreInput& more, Tensor dx) const {
  launch(kernels::GroupedGemm{.a = dgate_up,
                              .b = gate_up_.weight,
                              .more_a = more.rows,
                              .more_b = more.matrix,
                              .offsets = offsets,
                              .to = to,
                              .c = dx,
                              .accumulate = !more.rows.defined()},
         ctx.stream);
}

}  // namespace strait::layers
