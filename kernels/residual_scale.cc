#include "kernels/residual_scale.h"

#include "kernels/bytes.h"

namespace strait::kernels {
namespace {

/// x, its scale and its bias go together.
template <class Op>
void check_term(const Checker& c, const Op& op, DType compute) {
  const std::int64_t tokens = op.delta.shape[0], width = op.delta.shape[1];
  c.optional_shape("x", op.x, {tokens, width});
  c.optional_shape("x_scale", op.x_scale, {width});
  c.optional_shape("x_bias", op.x_bias, {width});
  const bool whole =
      op.x.defined() == op.x_scale.defined() && op.x.defined() == op.x_bias.defined();
  c.that(whole, "x, x_scale, x_bias: must be present together; set all or none");
  c.shape("delta_scale", op.delta_scale, {width});
  c.shape("delta_bias", op.delta_bias, {width});
  c.compute_dtype("delta", op.delta);
  c.wide_dtype("x", op.x, compute);
  c.wide_dtype("x_scale", op.x_scale, compute);
  c.dtype("x_bias", op.x_bias, op.x_scale.dtype);
  c.wide_dtype("delta_scale", op.delta_scale, compute);
  c.dtype("delta_bias", op.delta_bias, op.delta_scale.dtype);
}

/// A gradient of [D] beside its value.
void check_sum(const Checker& c, const char* field, const Tensor& sum, const ConstTensor& value,
               DType compute) {
  c.that(sum.defined() == value.defined(), field, ": must be present exactly when its value is");
  c.optional_shape(field, sum, {value.defined() ? value.shape[0] : 0});
  c.wide_dtype(field, sum, compute);
}

}  // namespace

void check(const ResidualScaleFwd& op) {
  const Checker c(ResidualScaleFwd::kName);
  c.shape("delta", op.delta, {Checker::kAny, Checker::kAny});
  check_term(c, op, op.delta.dtype);
  c.shape("y", op.y, {op.delta.shape[0], op.delta.shape[1]});
  c.wide_dtype("y", op.y, op.delta.dtype);
  if (op.x.defined()) c.dtype("x", op.x, op.y.dtype);
  c.same_or_disjoint("y", op.y, "x", op.x);
  c.same_or_disjoint("y", op.y, "delta", op.delta);
  for (const ConstTensor& row : {op.x_scale, op.x_bias, op.delta_scale, op.delta_bias}) {
    c.disjoint("y", op.y, "a scale or bias", row);
  }
}

void check(const ResidualScaleBwd& op) {
  const Checker c(ResidualScaleBwd::kName);
  c.shape("delta", op.delta, {Checker::kAny, Checker::kAny});
  const std::int64_t tokens = op.delta.shape[0], width = op.delta.shape[1];
  const DType compute = op.delta.dtype;
  check_term(c, op, compute);
  c.shape("dy", op.dy, {tokens, width});
  c.dtype("dy", op.dy, compute);
  c.that(op.dx.defined() == op.x.defined(), "dx: must be present exactly when x is");
  c.optional_shape("dx", op.dx, {tokens, width});
  c.dtype("dx", op.dx, compute);
  c.shape("ddelta", op.ddelta, {tokens, width});
  c.dtype("ddelta", op.ddelta, compute);
  check_sum(c, "dx_scale", op.dx_scale, op.x_scale, compute);
  check_sum(c, "dx_bias", op.dx_bias, op.x_bias, compute);
  check_sum(c, "ddelta_scale", op.ddelta_scale, op.delta_scale, compute);
  check_sum(c, "ddelta_bias", op.ddelta_bias, op.delta_bias, compute);
  c.same_or_disjoint("dx", op.dx, "dy", op.dy);
  if (op.dx.defined()) {
    c.disjoint("ddelta", op.ddelta, "dy", op.dy);
  } else {
    c.same_or_disjoint("ddelta", op.ddelta, "dy", op.dy);
  }
  c.disjoint("ddelta", op.ddelta, "dx", op.dx);
  for (const Tensor& out : {op.dx, op.ddelta}) {
    c.disjoint("dx or ddelta", out, "x", op.x);
    c.disjoint("dx or ddelta", out, "delta", op.delta);
  }
}

Work work(const ResidualScaleFwd& op) {
  return {0,
          bytes_of({op.x, op.x_scale, op.x_bias, op.delta, op.delta_scale, op.delta_bias, op.y})};
}

Work work(const ResidualScaleBwd& op) {
  return {0, bytes_of({op.dy, op.x, op.x_scale, op.x_bias, op.delta, op.delta_scale, op.delta_bias,
                       op.dx, op.ddelta, op.dx_scale, op.dx_scale, op.dx_bias, op.dx_bias,
                       op.ddelta_scale, op.ddelta_scale, op.ddelta_bias, op.ddelta_bias})};
}

}  // namespace strait::kernels
