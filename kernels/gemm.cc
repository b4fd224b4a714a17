#include "kernels/gemm.h"

#include <algorithm>
#include <limits>

#include "kernels/bytes.h"

namespace strait::kernels {
namespace {

/// Matrix libraries count in 32 bits and read rows that follow one another: no broadcast rows.
void check_rows(const Checker& c, const char* field, const ConstTensor& t) {
  const int row = t.rank - 2;
  const std::int64_t rows = t.shape[row], width = t.shape[row + 1], stride = t.stride[row];
  c.that(rows <= 1 || stride >= width, field, ": rows must not overlap: row stride ", stride,
         " of ", t, "; copy it to a buffer with full rows");
  constexpr std::int64_t kLimit = std::numeric_limits<std::int32_t>::max();
  c.that(rows <= kLimit && std::max(width, stride) <= kLimit, field, ": ", t, " with row stride ",
         stride, " exceeds the 32-bit sizes of matrix libraries; split it");
}

/// The term of one matrix for all experts.
void check_more(const Checker& c, const GroupedGemm& op) {
  if (!op.more_a.defined() && !op.more_b.defined()) return;
  c.shape("more_a", op.more_a, {op.c.shape[0], Checker::kAny});
  const std::int64_t in = op.more_a.shape[1], out = op.c.shape[1];
  if (op.trans_b) {
    c.shape("more_b", op.more_b, {out, in});
  } else {
    c.shape("more_b", op.more_b, {in, out});
  }
  c.dtype("more_a", op.more_a, op.a.dtype);
  c.dtype("more_b", op.more_b, op.a.dtype);
  c.that(!op.scale.defined(), "scale: not allowed with more_a; scale its rows beforehand");
  check_rows(c, "more_a", op.more_a);
  check_rows(c, "more_b", op.more_b);
  c.disjoint("c", op.c, "more_a", op.more_a);
  c.disjoint("c", op.c, "more_b", op.more_b);
}

double matmul_flops(std::int64_t m, std::int64_t n, std::int64_t k) {
  return 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
}

}  // namespace

void check(const Gemm& op) {
  const Checker c(Gemm::kName);
  c.shape("a", op.a, {Checker::kAny, Checker::kAny});
  const std::int64_t m = op.a.shape[op.trans_a ? 1 : 0], k = op.a.shape[op.trans_a ? 0 : 1];
  c.shape("c", op.c, {m, Checker::kAny});
  const std::int64_t n = op.c.shape[1];
  if (op.trans_b) {
    c.shape("b", op.b, {n, k});
  } else {
    c.shape("b", op.b, {k, n});
  }
  c.optional_shape("bias", op.bias, {n});
  c.that(!op.bias.defined() || !op.accumulate,
         "bias: not allowed with accumulate; add the bias in the product that assigns");
  c.compute_dtype("a", op.a);
  c.dtype("b", op.b, op.a.dtype);
  c.wide_dtype("c", op.c, op.a.dtype);
  c.wide_dtype("bias", op.bias, op.a.dtype);
  check_rows(c, "a", op.a);
  check_rows(c, "b", op.b);
  check_rows(c, "c", op.c);
  c.disjoint("c", op.c, "a", op.a);
  c.disjoint("c", op.c, "b", op.b);
  c.disjoint("c", op.c, "bias", op.bias);
}

void check(const GroupedGemm& op) {
  const Checker c(GroupedGemm::kName);
  c.shape("a", op.a, {Checker::kAny, Checker::kAny});
  c.shape("c", op.c, {op.a.shape[0], Checker::kAny});
  const std::int64_t in = op.a.shape[1], out = op.c.shape[1];
  if (op.trans_b) {
    c.shape("b", op.b, {Checker::kAny, out, in});
  } else {
    c.shape("b", op.b, {Checker::kAny, in, out});
  }
  c.shape("offsets", op.offsets, {op.b.shape[0] + 1});
  c.compute_dtype("a", op.a);
  c.dtype("b", op.b, op.a.dtype);
  c.wide_dtype("c", op.c, op.a.dtype);
  c.dtype("offsets", op.offsets, DType::i32);
  c.optional_shape("to", op.to, {op.a.shape[0]});
  c.dtype("to", op.to, DType::i32);
  c.optional_shape("scale", op.scale, {op.a.shape[0]});
  c.dtype("scale", op.scale, stat_dtype(op.a.dtype));
  check_rows(c, "a", op.a);
  check_rows(c, "b", op.b);
  check_rows(c, "c", op.c);
  c.disjoint("c", op.c, "a", op.a);
  c.disjoint("c", op.c, "b", op.b);
  c.disjoint("c", op.c, "offsets", op.offsets);
  check_more(c, op);
}

void check(const GroupedGemmWgrad& op) {
  const Checker c(GroupedGemmWgrad::kName);
  c.shape("a", op.a, {Checker::kAny, Checker::kAny});
  c.shape("b", op.b, {op.a.shape[0], Checker::kAny});
  c.shape("dw", op.dw, {Checker::kAny, op.a.shape[1], op.b.shape[1]});
  c.shape("offsets", op.offsets, {op.dw.shape[0] + 1});
  c.compute_dtype("a", op.a);
  c.dtype("b", op.b, op.a.dtype);
  c.wide_dtype("dw", op.dw, op.a.dtype);
  c.dtype("offsets", op.offsets, DType::i32);
  check_rows(c, "a", op.a);
  check_rows(c, "b", op.b);
  check_rows(c, "dw", op.dw);
  c.disjoint("dw", op.dw, "a", op.a);
  c.disjoint("dw", op.dw, "b", op.b);
  c.disjoint("dw", op.dw, "offsets", op.offsets);
}

void check(const SymmetricProduct& op) {
  const Checker c(SymmetricProduct::kName);
  c.shape("x", op.x, {Checker::kAny, Checker::kAny, Checker::kAny});
  const std::int64_t count = op.x.shape[0], rows = op.x.shape[1];
  const std::int64_t side = op.trans ? op.x.shape[2] : rows;
  c.shape("c", op.c, {count, side, side});
  c.compute_dtype("x", op.x);
  c.dtype("c", op.c, op.x.dtype);
  c.contiguous("x", op.x);
  c.contiguous("c", op.c);
  c.that(count * rows <= std::numeric_limits<std::int32_t>::max(), "x: ", op.x,
         " has more rows than 32 bits count; take fewer matrices at a time");
  c.disjoint("c", op.c, "x", op.x);
}

Work work(const Gemm& op) {
  const std::int64_t k = op.a.shape[op.trans_a ? 0 : 1];
  // An accumulated output is read as well as written.
  const double read = op.accumulate ? bytes_of({op.c}) : 0.0;
  return {matmul_flops(op.c.shape[0], op.c.shape[1], k),
          bytes_of({op.a, op.b, op.bias, op.c}) + read};
}

Work work(const GroupedGemm& op) {
  const double read = op.accumulate ? bytes_of({op.c}) : 0.0;
  const std::int64_t depth = op.a.shape[1] + (op.more_a.defined() ? op.more_a.shape[1] : 0);
  return {matmul_flops(op.c.shape[0], op.c.shape[1], depth),
          bytes_of({op.a, op.b, op.more_a, op.more_b, op.offsets, op.to, op.scale, op.c}) + read};
}

Work work(const SymmetricProduct& op) {
  const std::int64_t side = op.c.shape[1], depth = op.x.shape[op.trans ? 1 : 2];
  return {matmul_flops(op.x.shape[0] * (side + 1), side, depth) / 2, bytes_of({op.x, op.c})};
}

Work work(const GroupedGemmWgrad& op) {
  const double read = op.accumulate ? bytes_of({op.dw}) : 0.0;
  return {matmul_flops(op.a.shape[0], op.a.shape[1], op.b.shape[1]),
          bytes_of({op.a, op.b, op.offsets, op.dw}) + read};
}

}  // namespace strait::kernels
