#include "kernels/cuda/column_sums.h"

#include "kernels/cuda/convert.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/reduce.cuh"

namespace strait::kernels::cuda {
namespace {

constexpr int kRunners = 32;  // rows are dealt to this many warps of a block

__global__ __launch_bounds__(kWarp* kRunners) void column_sums(const float* partials,
                                                               std::int64_t rows,
                                                               std::int64_t width, void* out,
                                                               bool out_bf16) {
  __shared__ double sums[kRunners][kWarp + 1];
  const std::int64_t column = blockIdx.x * static_cast<std::int64_t>(kWarp) + threadIdx.x;
  double sum = 0;
  if (column < width) {
#pragma unroll 4
    for (std::int64_t r = threadIdx.y; r < rows; r += kRunners) sum += partials[r * width + column];
  }
  sums[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  // Warp y now owns column y of the block.
  const std::int64_t owned = blockIdx.x * static_cast<std::int64_t>(kWarp) + threadIdx.y;
  const double total = warp_reduce(sums[threadIdx.x][threadIdx.y]);
  if (threadIdx.x != 0 || owned >= width) return;
  Floats<1> value = load_wide<1>(out, out_bf16, owned);
  value[0] = static_cast<float>(value[0] + total);
  store_wide<1>(out, out_bf16, owned, value);
}

}  // namespace

void add_column_sums(const char* op, const float* partials, std::int64_t rows, const Tensor& out,
                     const Stream& stream) {
  const std::int64_t width = out.numel();
  launch_kernel({op, stream, {out}}, {blocks_for(width, kWarp), dim3(kWarp, kRunners)}, column_sums,
                partials, rows, width, out.data, out.dtype == DType::bf16);
}

}  // namespace strait::kernels::cuda
