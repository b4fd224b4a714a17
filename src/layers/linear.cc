#include "layers/linear.h"

#include <cmath>

#include "kernels/gemm.h"
#include "parallel/tensor_split.h"

namespace strait::layers {

using kernels::Gemm;
using kernels::launch;

double Build::output_std() const {
  return model.init_std / std::sqrt(2.0 * static_cast<double>(model.n_layers));
}

Linear::Linear(const Build& build, LinearSpec spec)
    : param_(build.table.add({.name = spec.name + ".weight",
                              .shape = {spec.out, spec.in},
                              .sections = std::move(spec.sections),
                              .shard = std::move(spec.shard),
                              .init = core::Init::normal(spec.std),
                              .decay = true,
                              .whole_grad = true,
                              .wide = spec.wide,
                              .group = core::OptimGroup::matrix})) {}

void Linear::forward(Ctx& ctx, ConstTensor x, Tensor y) const {
  launch(Gemm{.a = x, .b = param_.weight, .c = y, .trans_b = true}, ctx.stream);
}

void Linear::forward_of_rows(Ctx& ctx, ConstTensor x, Tensor y) const {
  const core::Frame frame(ctx.scratch);
  parallel::with_whole_rows(ctx, x, [&](ConstTensor rows, std::int64_t first) {
    forward(ctx, rows, y.slice(0, first, rows.shape[0]));
  });
}

void Linear::forward_to_rows(Ctx& ctx, ConstTensor x, Tensor y) const {
  const core::Frame frame(ctx.scratch);
  parallel::with_summed_rows(ctx, y, [&](Tensor terms, std::int64_t first) {
    forward(ctx, x.slice(0, first, terms.shape[0]), terms);
  });
}

void Linear::backward_of_rows(Ctx& ctx, ConstTensor x, ConstTensor dy, Tensor dx) const {
  const core::Frame frame(ctx.scratch);
  parallel::with_whole_rows(ctx, dy, [&](ConstTensor rows, std::int64_t first) {
    input_gradient(ctx, rows, dx.slice(0, first, rows.shape[0]));
    weight_gradient(ctx, x.slice(0, first, rows.shape[0]), rows);
  });
}

void Linear::backward_to_rows(Ctx& ctx, ConstTensor x, ConstTensor dy, Tensor dx) const {
  const Tensor terms = parallel::terms_of(ctx, dx);
  input_gradient(ctx, dy, terms);
  parallel::await_beside(ctx);  // x
  parallel::summed_rows_beside(ctx, terms, dx);
  weight_gradient(ctx, x, dy);
  parallel::await_beside(ctx);  // dx
}

void Linear::input_gradient(Ctx& ctx, ConstTensor dy, Tensor dx) const {
  launch(Gemm{.a = dy, .b = param_.weight, .c = dx}, ctx.stream);
}

void Linear::weight_gradient(Ctx& ctx, ConstTensor x, ConstTensor dy) const {
  launch(
      Gemm{
          .a = dy, .b = x, .c = param_.grad, .trans_a = true, .accumulate = param_.adds_gradient()},
      ctx.stream);
}

void Linear::backward(Ctx& ctx, ConstTensor x, ConstTensor dy, Tensor dx) const {
  input_gradient(ctx, dy, dx);
  weight_gradient(ctx, x, dy);
}

void Linear::backward_add(Ctx& ctx, ConstTensor x, ConstTensor dy, Tensor dx) const {
  launch(Gemm{.a = dy, .b = param_.weight, .c = dx, .accumulate = true}, ctx.stream);
  weight_gradient(ctx, x, dy);
}

}  // namespace strait::layers
