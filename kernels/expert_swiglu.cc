#include "kernels/expert_swiglu.h"

#include "kernels/bytes.h"

namespace strait::kernels {
namespace {

void check_like(const Checker& c, const char* field, const ConstTensor& t, const ConstTensor& dy,
                std::int64_t width) {
  c.shape(field, t, {dy.shape[0], width});
  c.dtype(field, t, dy.dtype);
}

/// A number for each row, by choice.
void check_weight(const Checker& c, const char* field, const ConstTensor& t,
                  const ConstTensor& dy) {
  c.shape(field, t, {Checker::kAny, Checker::kAny});
  c.dtype(field, t, stat_dtype(dy.dtype));
  c.contiguous(field, t);
  c.that(t.numel() == dy.shape[0], field, ": expected a number for each of ", dy.shape[0],
         " rows, got ", t);
}

void check_index(const Checker& c, const char* field, const ConstTensor& t, std::int64_t size) {
  c.shape(field, t, {size});
  c.dtype(field, t, DType::i32);
}

}  // namespace

void check(const ExpertSwigluBwd& op) {
  const Checker c(ExpertSwigluBwd::kName);
  c.shape("dy", op.dy, {Checker::kAny, Checker::kAny});
  c.compute_dtype("dy", op.dy);
  const std::int64_t width = op.dy.shape[1];
  check_like(c, "gate_up", op.gate_up, op.dy, 2 * width);
  check_like(c, "dgate_up", op.dgate_up, op.dy, 2 * width);
  check_like(c, "y", op.y, op.dy, width);
  check_index(c, "choice_of", op.choice_of, op.dy.shape[0]);
  check_index(c, "offsets", op.offsets, Checker::kAny);
  check_weight(c, "weight", op.weight, op.dy);
  check_weight(c, "dweight", op.dweight, op.dy);
  c.same_or_disjoint("dgate_up", op.dgate_up, "gate_up", op.gate_up);
  c.disjoint("dgate_up", op.dgate_up, "dy", op.dy);
  c.disjoint("y", op.y, "gate_up", op.gate_up);
  c.disjoint("y", op.y, "dy", op.dy);
  c.disjoint("dweight", op.dweight, "weight", op.weight);
}

Work work(const ExpertSwigluBwd& op) {
  return {0, bytes_of({op.dy, op.gate_up, op.choice_of, op.weight, op.dgate_up, op.y, op.dweight})};
}

}  // namespace strait::kernels
