#include "kernels/cuda/column_sums.h"

#include "kernels/cuda/convert.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/reduce.cuh"

namespace strait::kernels::cuda {
namespace {

constexpr int kColumns = 16;  // of a block: few, so that many blocks share the columns
constexpr int kRunners = 64;  // rows are dealt to so many threads a column

__global__ __launch_bounds__(kColumns* kRunners) void column_sums(const float* partials,
                                                                  std::int64_t rows,
                                                                  std::int64_t width, void* out,
                                                                  bool out_bf16) {
  static_assert(kRunners == 2 * kWarp);
  __shared__ double sums[kRunners][kColumns + 1];
  const int x = threadIdx.x % kColumns, y = threadIdx.x / kColumns;
  const std::int64_t column = blockIdx.x * static_cast<std::int64_t>(kColumns) + x;
  double sum = 0;
  if (column < width) {
#pragma unroll 8
    for (std::int64_t r = y; r < rows; r += kRunners) sum += partials[r * width + column];
  }
  sums[y][x] = sum;
  __syncthreads();
  // Warp w now owns column w of the block.
  const int owned = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  if (owned >= kColumns) return;
  const double total = warp_reduce(sums[lane][owned] + sums[lane + kWarp][owned]);
  const std::int64_t at = blockIdx.x * static_cast<std::int64_t>(kColumns) + owned;
  if (lane != 0 || at >= width) return;
  Floats<1> value = load_wide<1>(out, out_bf16, at);
  value[0] = static_cast<float>(value[0] + total);
  store_wide<1>(out, out_bf16, at, value);
}

}  // namespace

void add_column_sums(const char* op, const float* partials, std::int64_t rows, const Tensor& out,
                     const Stream& stream) {
  const std::int64_t width = out.numel();
  launch_kernel({op, stream, {out}}, {blocks_for(width, kColumns), kColumns * kRunners},
                column_sums, partials, rows, width, out.data, out.dtype == DType::bf16);
}

}  // namespace strait::kernels::cuda
