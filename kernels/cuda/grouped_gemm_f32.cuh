#pragma once

#include "kernels/cuda/grouped_gemm.cuh"

// The same products in float with plain fused multiply-adds: 64 x 64 tiles, 16 x 16 threads of
// 4 x 4 sums.
namespace strait::kernels::cuda::grouped {

inline constexpr int kPlainTile = 64, kPlainDepth = 16, kPlainThreads = 256;

/// Copies an operand's tile to shared memory as [depth][kPlainTile], zeros outside. `along` counts
/// rows or columns; one of the two strides is 1 and threads side by side follow it.
__device__ inline void load_plain(float (&tile)[kPlainDepth][kPlainTile + 4], const float* from,
                                  std::int64_t along_stride, std::int64_t depth_stride, int along,
                                  int depth) {
  for (int i = static_cast<int>(threadIdx.x); i < kPlainTile * kPlainDepth; i += kPlainThreads) {
    const bool depth_first = depth_stride == 1;
    const int x = depth_first ? i / kPlainDepth : i % kPlainTile;
    const int d = depth_first ? i % kPlainDepth : i / kPlainTile;
    tile[d][x] = x < along && d < depth ? from[x * along_stride + d * depth_stride] : 0.0f;
  }
}

template <bool kWeightGrad>
__global__ void __launch_bounds__(kPlainThreads) product_plain_kernel(const Args<float> args) {
  __shared__ float a[kPlainDepth][kPlainTile + 4], b[kPlainDepth][kPlainTile + 4];
  Problem problem;
  if (!find_problem<kWeightGrad, kPlainTile, kPlainTile>(args, problem)) return;
  const int thread = static_cast<int>(threadIdx.x), ty = thread / 16, tx = thread % 16;
  const std::int64_t first = problem.depth_row;
  const bool depth_minor_b = !kWeightGrad && args.trans_b;
  const std::int64_t a_row = kWeightGrad ? 1 : args.a_stride;
  const std::int64_t a_depth = kWeightGrad ? args.a_stride : 1;
  const std::int64_t b_column = depth_minor_b ? args.b_stride : 1;
  const std::int64_t b_depth = depth_minor_b ? 1 : args.b_stride;
  const float* from_a = args.a + problem.row * a_row + first * a_depth;
  const float* from_b = args.b + (kWeightGrad ? 0 : problem.expert * args.b_expert) +
                        problem.column * b_column + first * b_depth;
  float sums[4][4] = {};
  for (int depth = 0; depth < problem.depth; depth += kPlainDepth) {
    const int left = problem.depth - depth;
    load_plain(a, from_a + depth * a_depth, a_row, a_depth, problem.row_end - problem.row, left);
    load_plain(b, from_b + depth * b_depth, b_column, b_depth, problem.column_end - problem.column,
               left);
    __syncthreads();
    // A step is summed by itself first, which halves the rounding of long sums.
    float part[4][4] = {};
#pragma unroll
    for (int d = 0; d < kPlainDepth; ++d) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          part[i][j] = fmaf(a[d][ty + 16 * i], b[d][tx + 16 * j], part[i][j]);
        }
      }
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
      for (int j = 0; j < 4; ++j) sums[i][j] += part[i][j];
    }
    __syncthreads();
  }
  for (int i = 0; i < 4; ++i) {
    const int row = ty + 16 * i;
    if (problem.row + row >= problem.row_end) continue;
    const RowPlace place = place_of_row<kWeightGrad>(args, problem, row);
    for (int j = 0; j < 4; ++j) {
      const int column = tx + 16 * j;
      if (problem.column + column >= problem.column_end) continue;
      float& to = static_cast<float*>(args.c)[place.offset + column];
      to = place.scale * sums[i][j] + (args.accumulate ? to : 0.0f);
    }
  }
}

}  // namespace strait::kernels::cuda::grouped
