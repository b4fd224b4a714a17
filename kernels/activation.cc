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

Work work(const SwigluFwd& op) {
  return {0, bytes_of({op.gate_up, op.y})};
}

Work work(const SwigluBwd& op) {
  return {0, bytes_of({op.dy, op.gate_up, op.dgate_up})};
}

}  // namespace strait::kernels
