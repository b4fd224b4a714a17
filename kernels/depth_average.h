#pragma once

#include "kernels/check.h"
#include "kernels/stream.h"

// The state that routers hand from layer to layer (ZAYA1, arXiv 2605.05365): an average over depth
// with a learned weight per channel. R: width of the state.
namespace strait::kernels {

/// y = x + bias + gamma * previous; without `previous` its term is absent (first router).
struct DepthAverageFwd {
  static constexpr const char* kName = "DepthAverageFwd";
  ConstTensor x;              // [T, R] this layer's projection
  ConstTensor bias;           // [R]
  ConstTensor previous = {};  // [T, R] state of the router before, or absent
  ConstTensor gamma = {};     // [R], present exactly when previous is
  Tensor y;                   // [T, R]; may alias x
};

/// dprevious = gamma * dy; dbias += sum over tokens of dy, dgamma += sum of dy * previous. The
/// gradient of x is dy.
struct DepthAverageBwd {
  static constexpr const char* kName = "DepthAverageBwd";
  ConstTensor dy;             // [T, R]
  ConstTensor previous = {};  // [T, R], or absent; then gamma, dprevious and dgamma are too
  ConstTensor gamma = {};     // [R]
  Tensor dprevious = {};      // [T, R], assigned; may alias dy
  Tensor dbias;               // [R], accumulated
  Tensor dgamma = {};         // [R], accumulated
};

void check(const DepthAverageFwd& op);
void check(const DepthAverageBwd& op);
Work work(const DepthAverageFwd& op);
Work work(const DepthAverageBwd& op);

}  // namespace strait::kernels
