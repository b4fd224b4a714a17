#pragma once

#include "kernels/check.h"
#include "kernels/stream.h"

// Matrix products. Row strides are free (views into fused buffers), the last dim is contiguous.
namespace strait::kernels {

/// c = op(a) op(b) (+ bias) or c += op(a) op(b); op(m) is m or its transpose.
/// Weights are stored [out, in], so a forward linear is {x, w, y, .trans_b = true}.
struct Gemm {
  static constexpr const char* kName = "Gemm";
  ConstTensor a;  // [M, K], or [K, M] with trans_a
  ConstTensor b;  // [K, N], or [N, K] with trans_b
  Tensor c;       // [M, N]
  bool trans_a = false;
  bool trans_b = false;
  bool accumulate = false;  // += instead of =; not with bias
  ConstTensor bias = {};    // [N] or absent
};

/// Rows of one expert times that expert's matrix; rows are sorted by expert.
/// c[to[r]] = scale[to[r]] a[r] op(b[e]) for offsets[e] <= r < offsets[e + 1], or += with
/// `accumulate`; empty experts are fine. Rows from offsets[E] on belong to no expert: they are not
/// read, and c is left alone there. `more_a` and `more_b` add more_a[r] op(more_b), a term with one
/// matrix for all experts, to every product.
struct GroupedGemm {
  static constexpr const char* kName = "GroupedGemm";
  ConstTensor a;            // [N, I]
  ConstTensor b;            // [E, I, O], or [E, O, I] with trans_b
  ConstTensor more_a = {};  // [N, J] or absent; not with scale
  ConstTensor more_b = {};  // [J, O], or [O, J] with trans_b
  ConstTensor offsets;      // [E + 1] i32, offsets[0] = 0, offsets[E] <= N
  ConstTensor to = {};      // [N] i32: rows of c, each once; absent: r
  ConstTensor scale = {};   // [N] stat dtype, by rows of c; absent: 1
  Tensor c;                 // [N, O]
  bool trans_b = false;
  bool accumulate = false;
};

/// dw[e] += a[rows of e]^T b[rows of e], or dw[e] = without `accumulate`: zeros for empty experts.
struct GroupedGemmWgrad {
  static constexpr const char* kName = "GroupedGemmWgrad";
  ConstTensor a;        // [N, O]
  ConstTensor b;        // [N, I]
  ConstTensor offsets;  // [E + 1] i32
  Tensor dw;            // [E, O, I]
  bool accumulate = true;
};

/// c[n] = x[n] x[n]^T, or x[n]^T x[n] with `trans`. One half of each result is computed; the other
/// is its mirror image or, without `mirror`, anything: what lies above the diagonal is not to be
/// read.
struct SymmetricProduct {
  static constexpr const char* kName = "SymmetricProduct";
  ConstTensor x;  // [N, R, C] contiguous
  Tensor c;       // [N, m, m] contiguous, dtype of x; m is R, or C with trans
  bool trans = false;
  bool mirror = true;
};

void check(const Gemm& op);
void check(const GroupedGemm& op);
void check(const GroupedGemmWgrad& op);
void check(const SymmetricProduct& op);
Work work(const Gemm& op);
Work work(const GroupedGemm& op);
Work work(const GroupedGemmWgrad& op);
Work work(const SymmetricProduct& op);

}  // namespace strait::kernels
