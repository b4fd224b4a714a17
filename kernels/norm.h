#pragma once

#include "kernels/check.h"
#include "kernels/stream.h"

namespace strait::kernels {

/// Biases and scales of the terms of a residual sum, bias first (residual_scale.h): all, or none.
struct SumScales {
  ConstTensor x_scale = {}, x_bias = {};          // [D]
  ConstTensor delta_scale = {}, delta_bias = {};  // [D]
};

/// What experts made of the rows of tokens, N = T K rows sorted by expert (permute.h).
struct ExpertRows {
  ConstTensor rows = {};    // [N, D] compute dtype
  ConstTensor row_of = {};  // [T, K] i32
  ConstTensor weight = {};  // [T, K] stat dtype
};

/// s = x + delta, or (delta + delta_bias) * delta_scale + (x + x_bias) * x_scale; y = s /
/// sqrt(mean(s^2) + eps) * w, the mean over the last dim. With `experts` sum_k weight[t,k]
/// rows[row_of[t,k]] is added to delta, or to 0 where it is absent, and rounded as MoeCombineFwd
/// does. Without both, s is x and `sum` stays absent. y is the norm of `sum` as stored, so that a
/// norm of the stored sum repeats y and rstd bit for bit. The residual stream, x and `sum`, may be
/// in the stat dtype beside all else in the compute dtype, which is y's.
struct RmsNormFwd {
  static constexpr const char* kName = "RmsNormFwd";
  ConstTensor x;           // [T, D] compute or stat dtype, rows may be strided
  ConstTensor delta = {};  // [T, D] residual branch to add, or absent
  ConstTensor w;           // [D]
  SumScales scales = {};   // only with delta and without experts
  ExpertRows experts = {};
  Tensor sum = {};  // [T, D] s, dtype of x; present exactly when delta or experts are; may alias x,
                    // or delta of its dtype
  Tensor y;         // [T, D]
  Tensor rstd;      // [T] stat dtype, kept for RmsNormBwd
  double eps = 1e-5;
};

/// dx = dresidual + (gradient through the norm); dw += sum over tokens.
/// dx is the gradient of s, hence of both x and delta where the sum was not scaled.
struct RmsNormBwd {
  static constexpr const char* kName = "RmsNormBwd";
  ConstTensor dy;              // [T, D]
  ConstTensor s;               // [T, D] the normalised sum (x when there was no delta), dtype of x
  ConstTensor w;               // [D]
  ConstTensor rstd;            // [T] stat dtype
  ConstTensor dresidual = {};  // [T, D] gradient arriving past the norm, or absent; may alias dx
  Tensor dx;                   // [T, D], assigned
  Tensor dw;                   // [D], accumulated
};

void check(const RmsNormFwd& op);
void check(const RmsNormBwd& op);
Work work(const RmsNormFwd& op);
Work work(const RmsNormBwd& op);

}  // namespace strait::kernels
