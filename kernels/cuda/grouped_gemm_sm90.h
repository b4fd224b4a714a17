#pragma once

#include "kernels/cuda/launch.cuh"
#include "kernels/gemm.h"

// Grouped products through the Hopper kernel of sm90/.
namespace strait::kernels::cuda {

/// Whether the Hopper kernel runs this op: the device and the build, bf16 operands whose rows TMA
/// can address and that are whole packets of 16 bytes. All else takes the portable path.
bool takes_hopper(const GroupedGemm& op);
bool takes_hopper(const GroupedGemmWgrad& op);

/// How much of a group's result is wanted: of square ones tiles above the diagonal may be left out.
enum class Half : std::uint8_t { both, lower };

/// Precondition: takes_hopper(op).
void multiply_hopper(const GroupedGemm& op, const Call& call, Half half = Half::both);
void multiply_hopper(const GroupedGemmWgrad& op, const Call& call, Half half = Half::both);

}  // namespace strait::kernels::cuda
