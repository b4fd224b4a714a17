#pragma once

#include "kernels/check.h"
#include "kernels/stream.h"

// Muon (Jordan et al. 2024; arXiv 2502.16982): momentum, an approximate orthogonalisation of each
// matrix by Newton-Schulz steps, and a step along it. N matrices of one shape at a time, R rows by
// C columns; m is the shorter side.
namespace strait::kernels {

/// Momentum and the direction to orthogonalise: g *= grad_scale; m = mu m + g; u = g + mu m with
/// nesterov, else u = m. The direction follows the momentum before this is rounded. A momentum in
/// bf16 is rounded stochastically (stochastic.h) by (seed, t, first_index + place of the element in
/// memory after the view's first).
struct MuonMomentum {
  static constexpr const char* kName = "MuonMomentum";
  ConstTensor g;           // [N, R, C]
  Tensor m;                // [N, R, C] stat dtype of g, or bf16; strides of g
  Tensor u;                // [N, R, C] contiguous, dtype of g or bf16
  ConstTensor grad_scale;  // [1] f64 on the device: clipping factor
  ConstTensor rates;       // [4] f64 on the device, see adam_rates: t keys the rounding
  double mu = 0.95;
  bool nesterov = true;
  std::uint64_t seed = 0;
  std::int64_t first_index = 0;
};

/// x[i] /= |x[i]|_F + eps for each matrix; squares add up in double in an order fixed by R C.
struct FrobeniusScale {
  static constexpr const char* kName = "FrobeniusScale";
  Tensor x;  // [N, R, C] contiguous
  double eps = 1e-7;
};

/// square = a I + b gram + c square: the factor of Y in Y <- a Y + (b A + c A^2) Y, A = Y Y^T. All
/// are symmetric: the operands are read up to the diagonal, the result is whole.
struct NewtonSchulzFactor {
  static constexpr const char* kName = "NewtonSchulzFactor";
  ConstTensor gram;  // [N, m, m] contiguous, A
  Tensor square;     // [N, m, m] contiguous, A^2; replaced
  double a = 0, b = 0, c = 0;
};

/// w = w (1 - lr decay) - lr scale o, lr = rates[0].
struct MuonUpdate {
  static constexpr const char* kName = "MuonUpdate";
  Tensor w;               // [N, R, C]
  ConstTensor o;          // [N, R, C] contiguous, dtype of w or bf16
  Tensor w_compute = {};  // [N, R, C] the new w in the model's compute dtype, or absent
  ConstTensor rates;      // [4] f64 on the device, see adam_rates
  double scale = 1;
  double decay = 0;
};

/// offsets[i] = i rows: groups of equal size for GroupedGemm.
struct EvenOffsets {
  static constexpr const char* kName = "EvenOffsets";
  Tensor offsets;  // [N + 1] i32
  std::int64_t rows = 0;
};

void check(const MuonMomentum& op);
void check(const FrobeniusScale& op);
void check(const NewtonSchulzFactor& op);
void check(const MuonUpdate& op);
void check(const EvenOffsets& op);
Work work(const MuonMomentum& op);
Work work(const FrobeniusScale& op);
Work work(const NewtonSchulzFactor& op);
Work work(const MuonUpdate& op);

}  // namespace strait::kernels
