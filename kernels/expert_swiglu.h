#pragma once

#include "kernels/check.h"
#include "kernels/stream.h"

namespace strait::kernels {

/// Backward of y[r] = weight[c] silu(gate[r]) up[r] with c = choice_of[r], rows sorted by expert:
/// the weight of a choice enters before the expert's last product, which then is linear in what
/// comes out, so nothing wider than F must be kept or multiplied for dweight.
struct ExpertSwigluBwd {
  static constexpr const char* kName = "ExpertSwigluBwd";
  ConstTensor dy;         // [N, F]
  ConstTensor gate_up;    // [N, 2F], gate channels first
  ConstTensor choice_of;  // [N] i32
  ConstTensor weight;     // [T, K] stat dtype, N = T K
  ConstTensor offsets;    // [E + 1] i32; of rows from offsets[E] on only dweight is written, as 0
  Tensor dgate_up;        // [N, 2F], assigned; may alias gate_up
  Tensor y;               // [N, F], assigned
  Tensor dweight;         // [T, K] stat dtype, assigned
};

void check(const ExpertSwigluBwd& op);
Work work(const ExpertSwigluBwd& op);

}  // namespace strait::kernels
