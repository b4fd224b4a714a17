#pragma once

#include "kernels/check.h"

namespace strait::kernels {

/// AdamW (arXiv 1711.05101) with bias correction on one flat tensor:
/// g *= grad_scale; m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2;
/// w -= lr * (m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps) + decay * w).
struct AdamW {
  static constexpr const char* kName = "AdamW";
  Tensor w;                // [n]
  ConstTensor g;           // [n] dtype of w, or bf16 with w in f32
  Tensor m;                // [n] f32 (f64 in a double model)
  Tensor v;                // [n]
  Tensor w_compute = {};   // [n] the new w in the model's compute dtype, written along, or absent
  ConstTensor grad_scale;  // [1] f64 on the device: clipping factor
  double lr = 0;
  double beta1 = 0.9;
  double beta2 = 0.95;
  double eps = 1e-8;
  double decay = 0;       // 0 for parameters outside the decay group
  std::int64_t step = 1;  // t, from 1
};

/// out += sum of x^2, accumulated in double in an order fixed by n alone.
struct SumSquares {
  static constexpr const char* kName = "SumSquares";
  ConstTensor x;  // [n] contiguous
  Tensor out;     // [1] f64
};

/// norm = sqrt(sum_squares); scale = min(1, max_norm / (norm + 1e-6)), 1 when max_norm <= 0.
struct ClipScale {
  static constexpr const char* kName = "ClipScale";
  ConstTensor sum_squares;  // [1] f64
  Tensor norm;              // [1] f64
  Tensor scale;             // [1] f64
  double max_norm = 1.0;
};

void check(const AdamW& op);
void check(const SumSquares& op);
void check(const ClipScale& op);

}  // namespace strait::kernels
