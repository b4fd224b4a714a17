#pragma once

#include <cuda.h>

#include <cstdint>

// Host side of TMA: descriptions of tensors [rows, heads, width] in bf16 or fp32.
namespace strait::kernels::cuda::sm90 {

/// Strides in elements; these are bf16, or fp32 when `wide`.
struct TensorLayout {
  const void* data;
  std::int64_t rows, heads, width;
  std::int64_t row_stride, head_stride;
  bool wide = false;
};

/// Whether TMA can address it: 16-byte aligned data and strides, no dim that is empty or of 2^32.
bool addressable(const TensorLayout& tensor);

/// Map for boxes of `box_rows` rows of 64 columns (32 of fp32) of one head (tma.cuh). Throws
/// std::runtime_error with the driver's code when it refuses. Precondition: addressable, box_rows
/// <= 256.
CUtensorMap make_map(const TensorLayout& tensor, int box_rows);

/// The same with the rows cut into chunks of `chunk_rows`, which divide them: boxes end with their
/// chunk, which is the fourth coordinate.
CUtensorMap make_chunked_map(const TensorLayout& tensor, std::int64_t chunk_rows, int box_rows);

}  // namespace strait::kernels::cuda::sm90
