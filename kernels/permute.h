#pragma once

#include "kernels/check.h"
#include "kernels/stream.h"

// Moving tokens to experts and back. N = T K rows sorted by expert, inside an expert by (t, k).
namespace strait::kernels {

/// Stable counting sort of the choices by expert.
struct MoeSort {
  static constexpr const char* kName = "MoeSort";
  ConstTensor expert;  // [T, K] i32
  Tensor offsets;      // [E + 1] i32 first row of each expert
  Tensor row_of;       // [T, K] i32 sorted row of each choice
  Tensor choice_of;    // [N] i32 choice t * K + k of each sorted row
};

/// y[r] = x[choice_of[r] / K].
struct MoePermute {
  static constexpr const char* kName = "MoePermute";
  ConstTensor x;          // [T, D]
  ConstTensor choice_of;  // [N] i32
  Tensor y;               // [N, D]
};

/// y[t] = base[t] + sum_k weight[t,k] x[row_of[t,k]], k in order; absent weight means 1.
/// With absent weight it is also the backward of MoePermute.
struct MoeCombineFwd {
  static constexpr const char* kName = "MoeCombineFwd";
  ConstTensor x;            // [N, D]
  ConstTensor row_of;       // [T, K] i32
  ConstTensor weight = {};  // [T, K] stat dtype
  ConstTensor base = {};    // [T, D] added (shared experts), or absent; may alias y
  Tensor y;                 // [T, D], assigned
};

/// dx[r] = weight[c] dy[c / K] and dweight[c] = dot(dy[c / K], x[r]) with c = choice_of[r].
struct MoeCombineBwd {
  static constexpr const char* kName = "MoeCombineBwd";
  ConstTensor dy;         // [T, D]
  ConstTensor x;          // [N, D]
  ConstTensor choice_of;  // [N] i32
  ConstTensor weight;     // [T, K]
  Tensor dx;              // [N, D], assigned; may alias x
  Tensor dweight;         // [T, K] stat dtype, assigned
};

void check(const MoeSort& op);
void check(const MoePermute& op);
void check(const MoeCombineFwd& op);
void check(const MoeCombineBwd& op);
Work work(const MoeSort& op);
Work work(const MoePermute& op);
Work work(const MoeCombineFwd& op);
Work work(const MoeCombineBwd& op);

}  // namespace strait::kernels
