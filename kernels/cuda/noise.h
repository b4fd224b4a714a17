#pragma once

#include <cstdint>

#include "kernels/tensor.h"

namespace strait::kernels::cuda {

/// Fills device memory with standard normal values, f32 or bf16, on the default stream.
void fill_noise(void* data, std::int64_t count, DType dtype);

}  // namespace strait::kernels::cuda
