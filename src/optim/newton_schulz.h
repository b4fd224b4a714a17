#pragma once

#include <array>

#include "config/config.h"
#include "core/arena.h"

namespace strait::optim {

/// One Newton-Schulz step Y <- a Y + (b A + c A^2) Y, A = Y Y^T: a singular value s becomes
/// a s + b s^3 + c s^5, the singular vectors stay.
struct Quintic {
  double a, b, c;
};

/// The steps that a word of the config stands for: one polynomial five times (Jordan et al. 2024),
/// five that speed up towards the end, or Polar Express (arXiv 2505.16932) with its
/// safety factor folded in.
const std::array<Quintic, 5>& quintics(config::NewtonSchulz kind);

/// Brings the singular values of N matrices near 1: divides each by its Frobenius norm and takes
/// the steps, in the dtype of `u`. Both tensors are [N, R, C] contiguous and are overwritten; the
/// result is in the one returned. The products square the shorter side; of those that are symmetric
/// one half is computed. Takes 2 N min(R, C)^2 elements of `scratch` while it runs.
Tensor orthogonalise(Tensor u, Tensor other, const std::array<Quintic, 5>& steps,
                     core::Arena& scratch, const Stream& stream);

}  // namespace strait::optim
