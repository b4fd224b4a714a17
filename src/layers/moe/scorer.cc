#include "layers/moe/scorer.h"

#include "kernels/elementwise.h"
#include "kernels/wide_linear.h"
#include "layers/moe/mlp_scorer.h"

namespace strait::layers {
namespace {

using kernels::launch;

LinearSpec widened(LinearSpec spec) {
  spec.wide = true;
  return spec;
}

}  // namespace

WideningLinear::WideningLinear(const Build& build, LinearSpec spec)
    : linear_(build, widened(std::move(spec))) {}

void WideningLinear::forward(Ctx& ctx, ConstTensor x, Tensor y) const {
  launch(kernels::WideLinearFwd{.x = x, .w = linear_.weight(), .y = y}, ctx.stream);
}

void WideningLinear::backward(Ctx& ctx, ConstTensor x, ConstTensor dy, Tensor dx) const {
  launch(kernels::WideLinearBwd{.dy = dy, .w = linear_.weight(), .dx = dx}, ctx.stream);
  weight_gradient(ctx, x, dy);
}

void WideningLinear::weight_gradient(Ctx& ctx, ConstTensor x, ConstTensor dy) const {
  if (dy.dtype == x.dtype) return linear_.weight_gradient(ctx, x, dy);
  const core::Frame frame(ctx.scratch);
  // The weight's gradient may be in the compute dtype, as the input is.
  const Tensor rounded = ctx.scratch.take(x.dtype, {dy.shape[0], dy.shape[1]});
  launch(kernels::Copy{.x = dy, .y = rounded}, ctx.stream);
  linear_.weight_gradient(ctx, x, rounded);
}

LinearScorer::LinearScorer(const Build& build, const std::string& name, std::int64_t classes)
    : gate_(
          build,
          {.name = name, .in = build.model.d_model, .out = classes, .std = build.model.init_std}) {}

void LinearScorer::forward(Ctx& ctx, ConstTensor x, Tensor logits) {
  launch(product(ctx, x, logits), ctx.stream);
}

kernels::WideLinearFwd LinearScorer::product(Ctx& ctx, ConstTensor x, Tensor logits) {
  saved_ = {x, {}};
  if (x.dtype != logits.dtype) {
    const std::int64_t rows = kernels::parts_of(x.dtype) * gate_.weight().shape[0];
    saved_.parts = ctx.saved.take(x.dtype, {rows, x.shape[1]});
  }
  return {.x = x, .w = gate_.weight(), .y = logits, .parts = saved_.parts};
}

ConstTensor LinearScorer::parts() const {
  return saved_.parts.defined() ? saved_.parts : gate_.weight();
}

void LinearScorer::backward(Ctx& ctx, ConstTensor dlogits, Tensor dx) {
  gate_.backward(ctx, saved_.x, dlogits, dx);
}

void LinearScorer::weight_gradient(Ctx& ctx, ConstTensor dlogits) const {
  gate_.weight_gradient(ctx, saved_.x, dlogits);
}

std::unique_ptr<Scorer> make_scorer(const Build& build, const std::string& name,
                                    std::int64_t classes) {
  switch (build.model.ffn.moe.router.kind) {
    case config::RouterKind::linear:
      return std::make_unique<LinearScorer>(build, name, classes);
    case config::RouterKind::mlp:
      return std::make_unique<MlpScorer>(build, name, classes);
  }
  return nullptr;
}

}  // namespace strait::layers
