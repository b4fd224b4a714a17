#pragma once

#include "kernels/cca.h"
#include "kernels/cuda/launch.cuh"

// The CCA mix's fused path: Hopper, bf16, heads of 128, two taps in each convolution, rows aligned
// to 16 bytes, halves rotated against each other, heads normalised.
namespace strait::kernels::cuda::cca {

/// Whether the fused path takes this op on the current device.
bool fused_covers(const CcaMixFwd& op);
bool fused_covers(const CcaMixBwd& op);

/// Precondition: fused_covers(op).
void run_fused(const CcaMixFwd& op, const Call& call);
void run_fused(const CcaMixBwd& op, const Call& call);

}  // namespace strait::kernels::cuda::cca
