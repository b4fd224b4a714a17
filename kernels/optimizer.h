#pragma once

#include <array>
#include <cmath>

#include "kernels/check.h"
#include "kernels/stream.h"

namespace strait::kernels {

/// What AdamW reads from the device because it changes from step to step: learning rate,
/// 1 - beta1^t, 1 - beta2^t, and t itself, from 1; t = 0 (see StepGuard): nothing moves.
inline std::array<double, 4> adam_rates(double lr, double beta1, double beta2, std::int64_t t) {
  const auto steps = static_cast<double>(t);
  return {lr, 1 - std::pow(beta1, steps), 1 - std::pow(beta2, steps), steps};
}

/// AdamW (arXiv 1711.05101) with bias correction on one flat tensor:
/// g *= grad_scale; m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2;
/// w -= lr * (m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps) + decay * w).
/// The weights move by the states before these are rounded. States in bf16 are rounded
/// stochastically (stochastic.h) by (seed, t, first_index + i).
struct AdamW {
  static constexpr const char* kName = "AdamW";
  Tensor w;                // [n]
  ConstTensor g;           // [n] dtype of w, or bf16 with w in f32
  Tensor m;                // [n] stat dtype, or bf16
  Tensor v;                // [n] as m
  Tensor w_compute = {};   // [n] the new w in the model's compute dtype, written along, or absent
  ConstTensor grad_scale;  // [1] f64 on the device: clipping factor
  ConstTensor rates;       // [4] f64 on the device, see adam_rates
  double beta1 = 0.9;
  double beta2 = 0.95;
  double eps = 1e-8;
  double decay = 0;  // 0 for parameters outside the decay group
  std::uint64_t seed = 0;
  std::int64_t first_index = 0;
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

/// A step that must not be made becomes none: rates[3] = 0 unless loss and norm are finite and at
/// most limits[0] and limits[1].
struct StepGuard {
  static constexpr const char* kName = "StepGuard";
  ConstTensor loss;    // [1] f64
  ConstTensor norm;    // [1] f64
  ConstTensor limits;  // [2] f64, may be infinite
  Tensor rates;        // [4] f64, see adam_rates
};

void check(const AdamW& op);
void check(const SumSquares& op);
void check(const ClipScale& op);
void check(const StepGuard& op);
Work work(const AdamW& op);
Work work(const SumSquares& op);

}  // namespace strait::kernels
