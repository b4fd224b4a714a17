#include "kernels/activation.h"

#include "kernels/bytes.h"

namespace strait::kernels {

void check(const SwigluFwd& op) {
  const Checker c(SwigluFwd::kName);
  c.shape("y", op.y, {Checker::kAny, Checker::kAny});
  c.shape("gate_up", op.gate_up, {op.y.shape[0], 2 * op.y.shape[1]});
  c.compute_dtype("y", op.y);
  c.dtype("gate_up", op.gate_up, op.y.dtype);
  c.disjoint("y", op.y, "gate_up", op.gate_up);
}

void check(const SwigluBwd& op) {
  const Checker c(SwigluBwd::kName);
  c.shape("dy", op.dy, {Checker::kAny, Checker::kAny});
  c.shape("gate_up", op.gate_up, {op.dy.shape[0], 2 * op.dy.shape[1]});
  c.shape("dgate_up", op.dgate_up, {op.dy.shape[0], 2 * op.dy.shape[1]});
  c.compute_dtype("dy", op.dy);
  c.dtype("gate_up", op.gate_up, op.dy.dtype);
  c.dtype("dgate_up", op.dgate_up, op.dy.dtype);
  c.disjoint("dgate_up", op.dgate_up, "dy", op.dy);
  c.same_or_disjoint("dgate_up", op.dgate_up, "gate_up", op.gate_up);
}

void check(const GeluFwd& op) {
  const Checker c(GeluFwd::kName);
  c.shape("x", op.x, {Checker::kAny, Checker::kAny});
  c.shape("bias", op.bias, {op.x.shape[1]});
  c.shape("y", op.y, {op.x.shape[0], op.x.shape[1]});
  c.compute_dtype("x", op.x);
  c.wide_dtype("bias", op.bias, op.x.dtype);
  c.dtype("y", op.y, op.x.dtype);
  c.same_or_disjoint("y", op.y, "x", op.x);
  c.disjoint("y", op.y, "bias", op.bias);
}

void check(const GeluBwd& op) {
  const Checker c(GeluBwd::kName);
  c.shape("dy", op.dy, {Checker::kAny, Checker::kAny});
  c.shape("x", op.x, {op.dy.shape[0], op.dy.shape[1]});
  c.shape("bias", op.bias, {op.dy.shape[1]});
  c.shape("dx", op.dx, {op.dy.shape[0], op.dy.shape[1]});
  c.shape("dbias", op.dbias, {op.dy.shape[1]});
  c.compute_dtype("dy", op.dy);
  c.dtype("x", op.x, op.dy.dtype);
  c.wide_dtype("bias", op.bias, op.dy.dtype);
  c.dtype("dx", op.dx, op.dy.dtype);
  c.wide_dtype("dbias", op.dbias, op.dy.dtype);
  c.same_or_disjoint("dx", op.dx, "dy", op.dy);
  c.disjoint("dx", op.dx, "x", op.x);
  c.disjoint("dx", op.dx, "bias", op.bias);
  c.disjoint("dbias", op.dbias, "bias", op.bias);
}

Work work(const SwigluFwd& op) {
  return {0, bytes_of({op.gate_up, op.y})};
}

Work work(const SwigluBwd& op) {
  return {0, bytes_of({op.dy, op.gate_up, op.dgate_up})};
}

Work work(const GeluFwd& op) {
  return {0, bytes_of({op.x, op.bias, op.y})};
}

Work work(const GeluBwd& op) {
  return {0, bytes_of({op.dy, op.x, op.bias, op.dx, op.dbias, op.dbias})};
}

}  // namespace strait::kernels
