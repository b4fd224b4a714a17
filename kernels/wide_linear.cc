#include "kernels/wide_linear.h"

#include "kernels/bytes.h"

namespace strait::kernels {
namespace {

/// x [T, I] in a compute dtype; w [O, I] and y [T, O] in its stat dtype.
void check_map(const Checker& c, const char* x_field, const ConstTensor& x, const ConstTensor& w,
               const char* y_field, const ConstTensor& y) {
  c.shape(x_field, x, {Checker::kAny, Checker::kAny});
  c.shape("w", w, {Checker::kAny, x.shape[1]});
  c.shape(y_field, y, {x.shape[0], w.shape[0]});
  c.compute_dtype(x_field, x);
  c.dtype("w", w, stat_dtype(x.dtype));
  c.dtype(y_field, y, stat_dtype(x.dtype));
  c.contiguous("w", w);
}

double flops(const ConstTensor& x, const ConstTensor& w) {
  return 2.0 * static_cast<double>(x.shape[0]) * static_cast<double>(w.numel());
}

}  // namespace

void check(const WideLinearFwd& op) {
  const Checker c(WideLinearFwd::kName);
  check_map(c, "x", op.x, op.w, "y", op.y);
  c.disjoint("y", op.y, "x", op.x);
  c.disjoint("y", op.y, "w", op.w);
  c.optional_shape("parts", op.parts, {parts_of(op.x.dtype) * op.w.shape[0], op.w.shape[1]});
  c.dtype("parts", op.parts, op.x.dtype);
  c.contiguous("parts", op.parts);
  c.disjoint("parts", op.parts, "w", op.w);
}

void check(const WideLinearBwd& op) {
  const Checker c(WideLinearBwd::kName);
  check_map(c, "dx", op.dx, op.w, "dy", op.dy);
  c.disjoint("dx", op.dx, "dy", op.dy);
  c.disjoint("dx", op.dx, "w", op.w);
}

Work work(const WideLinearFwd& op) {
  return {flops(op.x, op.w), bytes_of({op.x, op.w, op.y, op.parts})};
}

Work work(const WideLinearBwd& op) {
  return {flops(op.dx, op.w), bytes_of({op.dy, op.w, op.dx})};
}

}  // namespace strait::kernels
