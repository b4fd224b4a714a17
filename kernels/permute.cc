#include "kernels/permute.h"

#include <limits>

#include "kernels/bytes.h"

namespace strait::kernels {
namespace {

/// Index tensors are packed i32.
void check_index(const Checker& c, const char* field, const ConstTensor& t,
                 std::initializer_list<std::int64_t> dims) {
  c.shape(field, t, dims);
  c.dtype(field, t, DType::i32);
  c.contiguous(field, t);
}

/// N = T K for some K >= 1.
void check_choice_count(const Checker& c, std::int64_t choices, std::int64_t tokens) {
  c.that(tokens == 0 ? choices == 0 : choices >= tokens && choices % tokens == 0,
         "sorted rows must be tokens (", tokens, ") times experts per token, got ", choices);
}

void check_weight(const Checker& c, const char* field, const ConstTensor& weight,
                  std::int64_t tokens, std::int64_t chosen, const ConstTensor& x) {
  c.shape(field, weight, {tokens, chosen});
  c.dtype(field, weight, stat_dtype(x.dtype));
  c.contiguous(field, weight);
}

}  // namespace

void check(const MoeSort& op) {
  const Checker c(MoeSort::kName);
  check_index(c, "expert", op.expert, {Checker::kAny, Checker::kAny});
  const std::int64_t rows = op.expert.numel();
  c.that(rows <= std::numeric_limits<std::int32_t>::max(), "choices must fit in i32, got ", rows,
         "; use a smaller micro-batch");
  check_index(c, "offsets", op.offsets, {Checker::kAny});
  c.that(op.offsets.shape[0] >= 2, "offsets must hold experts + 1 entries, got ",
         op.offsets.shape[0]);
  check_index(c, "row_of", op.row_of, {op.expert.shape[0], op.expert.shape[1]});
  check_index(c, "choice_of", op.choice_of, {rows});
  c.disjoint("row_of", op.row_of, "expert", op.expert);
  c.disjoint("choice_of", op.choice_of, "expert", op.expert);
  c.disjoint("choice_of", op.choice_of, "row_of", op.row_of);
}

void check(const MoePermute& op) {
  const Checker c(MoePermute::kName);
  c.shape("x", op.x, {Checker::kAny, Checker::kAny});
  check_index(c, "choice_of", op.choice_of, {Checker::kAny});
  check_choice_count(c, op.choice_of.shape[0], op.x.shape[0]);
  c.shape("y", op.y, {op.choice_of.shape[0], op.x.shape[1]});
  c.dtype("y", op.y, op.x.dtype);
  c.disjoint("y", op.y, "x", op.x);
}

void check(const MoeCombineFwd& op) {
  const Checker c(MoeCombineFwd::kName);
  check_index(c, "row_of", op.row_of, {Checker::kAny, Checker::kAny});
  const std::int64_t tokens = op.row_of.shape[0], chosen = op.row_of.shape[1];
  c.shape("x", op.x, {tokens * chosen, Checker::kAny});
  c.compute_dtype("x", op.x);
  const std::int64_t width = op.x.shape[1];
  c.shape("y", op.y, {tokens, width});
  c.dtype("y", op.y, op.x.dtype);
  c.disjoint("y", op.y, "x", op.x);
  if (op.weight.defined()) check_weight(c, "weight", op.weight, tokens, chosen, op.x);
  c.optional_shape("base", op.base, {tokens, width});
  if (!op.base.defined()) return;
  c.dtype("base", op.base, op.x.dtype);
  c.same_or_disjoint("y", op.y, "base", op.base);
}

void check(const MoeCombineBwd& op) {
  const Checker c(MoeCombineBwd::kName);
  c.shape("dy", op.dy, {Checker::kAny, Checker::kAny});
  c.compute_dtype("dy", op.dy);
  const std::int64_t tokens = op.dy.shape[0], width = op.dy.shape[1];
  check_index(c, "choice_of", op.choice_of, {Checker::kAny});
  const std::int64_t rows = op.choice_of.shape[0];
  check_choice_count(c, rows, tokens);
  c.shape("x", op.x, {rows, width});
  c.shape("dx", op.dx, {rows, width});
  c.dtype("x", op.x, op.dy.dtype);
  c.dtype("dx", op.dx, op.dy.dtype);
  const std::int64_t chosen = tokens == 0 ? 0 : rows / tokens;
  check_weight(c, "weight", op.weight, tokens, chosen, op.dy);
  check_weight(c, "dweight", op.dweight, tokens, chosen, op.dy);
  c.disjoint("dx", op.dx, "dy", op.dy);
  c.disjoint("dweight", op.dweight, "weight", op.weight);
  c.same_or_disjoint("dx", op.dx, "x", op.x);
}

Work work(const MoeSort& op) {
  return {0, bytes_of({op.expert, op.offsets, op.row_of, op.choice_of})};
}

Work work(const MoePermute& op) {
  return {0, bytes_of({op.x, op.choice_of, op.y})};
}

Work work(const MoeCombineFwd& op) {
  return {0, bytes_of({op.x, op.row_of, op.weight, op.base, op.y})};
}

Work work(const MoeCombineBwd& op) {
  return {0, bytes_of({op.dy, op.x, op.choice_of, op.weight, op.dx, op.dweight})};
}

}  // namespace strait::kernels
