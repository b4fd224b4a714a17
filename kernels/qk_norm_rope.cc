#include "kernels/qk_norm_rope.h"

#include "kernels/bytes.h"

namespace strait::kernels {

void check(const Checker& c, const Rope& rope, std::int64_t d) {
  c.that(rope.dims >= 0 && rope.dims <= d && rope.dims % 2 == 0,
         "rope.dims: expected an even number in 0..", d, " (head dim), got ", rope.dims,
         "; change the rotary fraction");
  c.that(rope.theta > 0, "rope.theta: expected a positive base, got ", rope.theta);
}

void check(const QkNormRopeFwd& op) {
  const Checker c(QkNormRopeFwd::kName);
  c.shape("x", op.x, {Checker::kAny, Checker::kAny, Checker::kAny});
  const std::int64_t tokens = op.x.shape[0], heads = op.x.shape[1], d = op.x.shape[2];
  c.optional_shape("w", op.w, {d});
  c.shape("positions", op.positions, {tokens});
  c.shape("y", op.y, {tokens, heads, d});
  c.that(op.rstd.defined() == op.w.defined(),
         "rstd: must be present exactly when w is; set both or neither");
  c.optional_shape("rstd", op.rstd, {tokens, heads});
  check(c, op.rope, d);
  c.compute_dtype("x", op.x);
  c.wide_dtype("w", op.w, op.x.dtype);
  c.dtype("positions", op.positions, DType::i32);
  c.dtype("y", op.y, op.x.dtype);
  c.dtype("rstd", op.rstd, stat_dtype(op.x.dtype));
  if (op.w.defined()) {
    c.disjoint("y", op.y, "x", op.x);
  } else {
    c.same_or_disjoint("y", op.y, "x", op.x);
  }
  c.disjoint("y", op.y, "w", op.w);
  c.disjoint("y", op.y, "positions", op.positions);
  c.disjoint("y", op.y, "rstd", op.rstd);
}

void check(const QkNormRopeBwd& op) {
  const Checker c(QkNormRopeBwd::kName);
  c.shape("dy", op.dy, {Checker::kAny, Checker::kAny, Checker::kAny});
  const std::int64_t tokens = op.dy.shape[0], heads = op.dy.shape[1], d = op.dy.shape[2];
  const bool norm = op.w.defined();
  c.that(op.x.defined() == norm && op.rstd.defined() == norm && op.dw.defined() == norm,
         "x, rstd, dw: must be present exactly when w is; set all four or none");
  c.optional_shape("x", op.x, {tokens, heads, d});
  c.optional_shape("w", op.w, {d});
  c.shape("positions", op.positions, {tokens});
  c.optional_shape("rstd", op.rstd, {tokens, heads});
  c.shape("dx", op.dx, {tokens, heads, d});
  c.optional_shape("dw", op.dw, {d});
  check(c, op.rope, d);
  c.compute_dtype("dy", op.dy);
  c.dtype("x", op.x, op.dy.dtype);
  c.wide_dtype("w", op.w, op.dy.dtype);
  c.dtype("positions", op.positions, DType::i32);
  c.dtype("rstd", op.rstd, stat_dtype(op.dy.dtype));
  c.dtype("dx", op.dx, op.dy.dtype);
  c.wide_dtype("dw", op.dw, op.dy.dtype);
  c.same_or_disjoint("dx", op.dx, "dy", op.dy);
  c.disjoint("dx", op.dx, "x", op.x);
  c.disjoint("dx", op.dx, "w", op.w);
  c.disjoint("dx", op.dx, "positions", op.positions);
  c.disjoint("dx", op.dx, "dw", op.dw);
  c.disjoint("dw", op.dw, "dy", op.dy);
  c.disjoint("dw", op.dw, "x", op.x);
  c.disjoint("dw", op.dw, "w", op.w);
}

Work work(const QkNormRopeFwd& op) {
  return {0, bytes_of({op.x, op.w, op.positions, op.y, op.rstd})};
}

Work work(const QkNormRopeBwd& op) {
  return {0, bytes_of({op.dy, op.x, op.w, op.positions, op.rstd, op.dx, op.dw, op.dw})};
}

}  // namespace strait::kernels
