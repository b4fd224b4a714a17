#include "kernels/optimizer.h"

#include <utility>

#include "kernels/bytes.h"

namespace strait::kernels {
namespace {

bool in_unit_interval(double x) {
  return x >= 0 && x < 1;
}

}  // namespace

void check(const AdamW& op) {
  const Checker c(AdamW::kName);
  c.shape("w", op.w, {Checker::kAny});
  const std::int64_t n = op.w.shape[0];
  c.shape("g", op.g, {n});
  c.shape("m", op.m, {n});
  c.shape("v", op.v, {n});
  c.shape("grad_scale", op.grad_scale, {1});
  c.compute_dtype("w", op.w);
  if (op.w.dtype != DType::f32 || op.g.dtype != DType::bf16) {
    c.wide_dtype("g", op.g, op.w.dtype);
  }
  c.optional_shape("w_compute", op.w_compute, {n});
  c.compute_dtype("w_compute", op.w_compute);
  if (op.m.dtype != DType::bf16) c.dtype("m", op.m, stat_dtype(op.w.dtype));
  c.dtype("v", op.v, op.m.dtype);
  c.dtype("grad_scale", op.grad_scale, DType::f64);
  c.shape("rates", op.rates, {4});
  c.dtype("rates", op.rates, DType::f64);
  c.disjoint("w", op.w, "g", op.g);
  c.disjoint("w", op.w, "m", op.m);
  c.disjoint("w", op.w, "v", op.v);
  c.disjoint("w_compute", op.w_compute, "w", op.w);
  c.disjoint("w_compute", op.w_compute, "g", op.g);
  c.disjoint("w_compute", op.w_compute, "m", op.m);
  c.disjoint("w_compute", op.w_compute, "v", op.v);
  c.disjoint("m", op.m, "g", op.g);
  c.disjoint("m", op.m, "v", op.v);
  c.disjoint("v", op.v, "g", op.g);
  c.that(in_unit_interval(op.beta1) && in_unit_interval(op.beta2),
         "beta1, beta2: expected in [0, 1), got ", op.beta1, ", ", op.beta2);
}

void check(const SumSquares& op) {
  const Checker c(SumSquares::kName);
  c.shape("x", op.x, {Checker::kAny});
  c.shape("out", op.out, {1});
  c.compute_dtype("x", op.x);
  c.dtype("out", op.out, DType::f64);
  c.disjoint("out", op.out, "x", op.x);
}

void check(const ClipScale& op) {
  const Checker c(ClipScale::kName);
  c.shape("sum_squares", op.sum_squares, {1});
  c.shape("norm", op.norm, {1});
  c.shape("scale", op.scale, {1});
  c.dtype("sum_squares", op.sum_squares, DType::f64);
  c.dtype("norm", op.norm, DType::f64);
  c.dtype("scale", op.scale, DType::f64);
  c.disjoint("norm", op.norm, "sum_squares", op.sum_squares);
  c.disjoint("scale", op.scale, "sum_squares", op.sum_squares);
  c.disjoint("scale", op.scale, "norm", op.norm);
}

void check(const StepGuard& op) {
  const Checker c(StepGuard::kName);
  c.shape("loss", op.loss, {1});
  c.shape("norm", op.norm, {1});
  c.shape("limits", op.limits, {2});
  c.shape("rates", op.rates, {4});
  for (const auto& [name, tensor] :
       {std::pair("loss", op.loss), std::pair("norm", op.norm), std::pair("limits", op.limits)}) {
    c.dtype(name, tensor, DType::f64);
    c.disjoint("rates", op.rates, name, tensor);
  }
  c.dtype("rates", op.rates, DType::f64);
}

Work work(const AdamW& op) {
  return {.flops = 15.0 * static_cast<double>(op.w.numel()),
          .bytes = bytes_of({op.w, op.w, op.m, op.m, op.v, op.v, op.g, op.w_compute})};
}

Work work(const SumSquares& op) {
  return {.flops = 2.0 * static_cast<double>(op.x.numel()), .bytes = bytes_of({op.x})};
}

}  // namespace strait::kernels
