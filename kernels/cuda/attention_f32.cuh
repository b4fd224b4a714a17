#pragma once

#include "kernels/cuda/attention_tile.cuh"

// Attention in float: plain fused multiply-adds, for any head dims up to kMaxWidth. Eight warps;
// each owns a few rows of the result, its lanes the columns.
namespace strait::kernels::cuda::attention {

inline constexpr int kPlainThreads = 256;
inline constexpr int kPlainWarps = kPlainThreads / kWarp;
inline constexpr int kMaxWidth = 256;
inline constexpr int kLaneColumns = kMaxWidth / kWarp;  // columns of a result row per lane

/// Row pitch of a tile: a multiple of 4, and 16-byte reads of neighbouring rows miss each other.
__host__ __device__ inline int plain_pitch(int width) {
  return (width + 3) / 4 * 4 + 4;
}

/// Rows [row, row + rows) of one head into `tile`, zeros beyond the tensor and in the padding.
__device__ inline void load_plain(float* tile, const Heads<const float>& x, int row, int head,
                                  int rows) {
  const int pitch = plain_pitch(x.width);
  for (int i = static_cast<int>(threadIdx.x); i < rows * pitch; i += kPlainThreads) {
    const int r = i / pitch, c = i % pitch;
    tile[i] = row + r < x.rows && c < x.width ? x.at(row + r, head)[c] : 0.0f;
  }
}

/// Product of two tile rows.
__device__ inline float dot_plain(const float* a, const float* b, int width) {
  float sum = 0;
  for (int c = 0; c < width; c += 4) {
    const float4 x = *reinterpret_cast<const float4*>(a + c);
    const float4 y = *reinterpret_cast<const float4*>(b + c);
    sum = fmaf(x.x, y.x, fmaf(x.y, y.y, fmaf(x.z, y.z, fmaf(x.w, y.w, sum))));
  }
  return sum;
}

/// sums[r][i] += sum over `depth` of weight[r][.] tile[.][lane + 32 i]. The tile is summed by
/// itself first: rounding grows with the number of tiles, not of rows.
template <int kRows>
__device__ inline void add_plain(float (&sums)[kRows][kLaneColumns], const float* weight,
                                 int weight_pitch, const float* tile, int width, int depth) {
  const int pitch = plain_pitch(width);
  float part[kRows][kLaneColumns] = {};
  for (int j = 0; j < depth; ++j) {
#pragma unroll
    for (int i = 0; i < kLaneColumns; ++i) {
      const int column = lane_id() + i * kWarp;
      const float x = column < width ? tile[j * pitch + column] : 0.0f;
#pragma unroll
      for (int r = 0; r < kRows; ++r)
        part[r][i] = fmaf(weight[r * weight_pitch + j], x, part[r][i]);
    }
  }
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
#pragma unroll
    for (int i = 0; i < kLaneColumns; ++i) sums[r][i] += part[r][i];
  }
}

template <int kRows>
__device__ inline void store_plain(const Heads<float>& x, int row, int head,
                                   const float (&sums)[kRows][kLaneColumns],
                                   const float (&factor)[kRows]) {
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
#pragma unroll
    for (int i = 0; i < kLaneColumns; ++i) {
      const int column = lane_id() + i * kWarp;
      if (row + r < x.rows && column < x.width) {
        x.at(row + r, head)[column] = sums[r][i] * factor[r];
      }
    }
  }
}

}  // namespace strait::kernels::cuda::attention
