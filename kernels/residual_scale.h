#pragma once

#include "kernels/check.h"
#include "kernels/stream.h"

// Residual scaling (ZAYA1, arXiv 2605.05365): both terms of a residual sum get a bias and a scale
// per channel, bias first.
namespace strait::kernels {

/// y = (delta + delta_bias) * delta_scale + (x + x_bias) * x_scale; without x its term is absent.
/// The residual stream, x and y, may be in the stat dtype beside delta in the compute dtype.
struct ResidualScaleFwd {
  static constexpr const char* kName = "ResidualScaleFwd";
  ConstTensor x = {};        // [T, D] residual stream, or absent (behind the embedding)
  ConstTensor x_scale = {};  // [D], present exactly when x is; so x_bias
  ConstTensor x_bias = {};   // [D]
  ConstTensor delta;         // [T, D] branch, compute dtype
  ConstTensor delta_scale;   // [D]
  ConstTensor delta_bias;    // [D]
  Tensor y;                  // [T, D] dtype of x; may alias x, or delta of its dtype
};

/// dx = dy * x_scale, ddelta = dy * delta_scale; d*_scale += sum over tokens of dy * (term +
/// bias), d*_bias += sum of dy * scale. Fields of x are absent as in the forward.
struct ResidualScaleBwd {
  static constexpr const char* kName = "ResidualScaleBwd";
  ConstTensor dy;            // [T, D] compute dtype
  ConstTensor x = {};        // [T, D] as in the forward
  ConstTensor x_scale = {};  // [D]
  ConstTensor x_bias = {};   // [D]
  ConstTensor delta;         // [T, D]
  ConstTensor delta_scale;   // [D]
  ConstTensor delta_bias;    // [D]
  Tensor dx = {};            // [T, D], assigned; may alias dy
  Tensor ddelta;             // [T, D], assigned; may alias dy when there is no dx
  Tensor dx_scale = {};      // [D], accumulated
  Tensor dx_bias = {};       // [D], accumulated
  Tensor ddelta_scale;       // [D], accumulated
  Tensor ddelta_bias;        // [D], accumulated
};

void check(const ResidualScaleFwd& op);
void check(const ResidualScaleBwd& op);
Work work(const ResidualScaleFwd& op);
Work work(const ResidualScaleBwd& op);

}  // namespace strait::kernels
