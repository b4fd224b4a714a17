#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/cuda/convert.cuh"
#include "kernels/cuda/launch.cuh"

// Ops on rows whose parameters, and sums over rows, belong to columns: a thread owns one packet of
// columns, keeps what belongs to them in registers and walks down the rows.
namespace strait::kernels::cuda {

inline constexpr int kWalkThreads = 128;
/// Blocks in all, about eight for each multiprocessor of an H100.
inline constexpr std::int64_t kWalkBlocks = 1056;

/// Blocks x share the columns, blocks y the rows. A partial sum of a column is left by every y.
inline Grid walk_grid(std::int64_t rows, std::int64_t width, int packet) {
  const std::int64_t columns = ceil_div(ceil_div(width, packet), kWalkThreads);
  const std::int64_t share =
      std::max<std::int64_t>(1, kWalkBlocks / std::max<std::int64_t>(1, columns));
  return {dim3(static_cast<unsigned>(columns), static_cast<unsigned>(std::min(rows, share))),
          dim3(kWalkThreads)};
}

/// First column of this thread; at or past the width: no work.
template <int kWidth>
__device__ std::int64_t own_column() {
  return (blockIdx.x * static_cast<std::int64_t>(kWalkThreads) + threadIdx.x) * kWidth;
}

/// Calls body(row) for the rows of this block.
template <class Body>
__device__ void walk_rows(std::int64_t rows, Body&& body) {
  for (std::int64_t row = blockIdx.y; row < rows; row += gridDim.y) body(row);
}

/// Leaves this block's sums of its columns in row blockIdx.y of `partials` [gridDim.y, width].
template <int kWidth>
__device__ void leave_sums(float* partials, std::int64_t width, std::int64_t column,
                           const Floats<kWidth>& sums) {
  float* row = partials + blockIdx.y * width + column;
#pragma unroll
  for (int j = 0; j < kWidth; ++j) {
    if (column + j < width) row[j] = sums[j];
  }
}

/// A vector over columns, in the compute dtype or in float32.
struct ColumnVector {
  const void* data = nullptr;
  bool is_bf16 = false;

  explicit ColumnVector(const ConstTensor& t) : data(t.data), is_bf16(t.dtype == DType::bf16) {}

  template <int kWidth>
  __device__ Floats<kWidth> load(std::int64_t column, std::int64_t left) const {
    return load_wide<kWidth>(data, is_bf16, column, left);
  }
};

/// A matrix whose rows lie `stride` elements apart; null when absent.
template <class T>
struct WalkRows {
  T* data;
  std::int64_t stride;

  __device__ T* at(std::int64_t row, std::int64_t column) const {
    return data + row * stride + column;
  }
};

template <class T>
WalkRows<const T> rows_of(const ConstTensor& t) {
  return {t.as<T>(), t.stride[0]};
}
template <class T>
WalkRows<T> rows_of(const Tensor& t) {
  return {t.as<T>(), t.stride[0]};
}

}  // namespace strait::kernels::cuda
