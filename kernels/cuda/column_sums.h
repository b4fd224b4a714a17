#pragma once

#include <cstdint>

#include "kernels/stream.h"
#include "kernels/tensor.h"

namespace strait::kernels::cuda {

/// out[j] += sum over r of partials[r, j], r in double and a fixed order: the second stage of every
/// parameter gradient that is a sum over tokens. `partials` is [rows, width] f32 on the device,
/// `out` is [width] f32 or bf16, contiguous. `op` names the caller in errors.
void add_column_sums(const char* op, const float* partials, std::int64_t rows, const Tensor& out,
                     const Stream& stream);

}  // namespace strait::kernels::cuda
