#pragma once

#include "kernels/cuda/dtype.cuh"
#include "kernels/cuda/ptx.cuh"
#include "kernels/cuda/warp.cuh"

// Tiles of bf16 in shared memory and the operands of mma_bf16 read from them.
namespace strait::kernels::cuda {

/// Rows of kWidth elements. The 16-byte chunks of a row are permuted by the row's number, so that
/// the eight rows of a matrix load and the chunks of a row lie in different banks.
template <int kWidth>
struct Tile {
  static_assert(kWidth % 64 == 0, "eight chunks are permuted at a time");
  bf16* data;  // 16-byte aligned

  __device__ __forceinline__ bf16* at(int row, int chunk) const {
    return data + row * kWidth + ((chunk ^ (row & 7)) << 3);
  }
};

/// Operand a: 16 rows from `row`, 16 depths from chunk `chunk`, stored [row][depth].
template <int kWidth>
__device__ __forceinline__ void load_a(std::uint32_t (&a)[4], Tile<kWidth> tile, int row,
                                       int chunk) {
  const int lane = lane_id();
  load_matrices(a, tile.at(row + (lane & 15), chunk + (lane >> 4)));
}

/// Operand a from a tile stored [depth][row]: 16 rows from chunk `chunk`, 16 depths from `depth`.
template <int kWidth>
__device__ __forceinline__ void load_a_transposed(std::uint32_t (&a)[4], Tile<kWidth> tile,
                                                  int depth, int chunk) {
  const int lane = lane_id();
  load_matrices_transposed(
      a, tile.at(depth + (lane & 7) + ((lane >> 4) << 3), chunk + ((lane >> 3) & 1)));
}

/// Operands b of 16 columns from `column`, stored [column][depth]: {b[0], b[1]} for the first
/// eight, {b[2], b[3]} for the others.
template <int kWidth>
__device__ __forceinline__ void load_b(std::uint32_t (&b)[4], Tile<kWidth> tile, int column,
                                       int chunk) {
  const int lane = lane_id();
  load_matrices(b, tile.at(column + (lane & 7) + ((lane >> 4) << 3), chunk + ((lane >> 3) & 1)));
}

/// As load_b from a tile stored [depth][column]: 16 columns from chunk `chunk`.
template <int kWidth>
__device__ __forceinline__ void load_b_transposed(std::uint32_t (&b)[4], Tile<kWidth> tile,
                                                  int depth, int chunk) {
  const int lane = lane_id();
  load_matrices_transposed(b, tile.at(depth + (lane & 15), chunk + (lane >> 4)));
}

/// Two fp32 as one register of bf16, `low` first in memory.
__device__ __forceinline__ std::uint32_t pack_bf16(float low, float high) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  return *reinterpret_cast<const std::uint32_t*>(&pair);
}

/// The accumulators of two neighbouring 16x8 tiles as operand a of 16 depths.
__device__ __forceinline__ void pack_a(std::uint32_t (&a)[4], const float (&left)[4],
                                       const float (&right)[4]) {
  a[0] = pack_bf16(left[0], left[1]);
  a[1] = pack_bf16(left[2], left[3]);
  a[2] = pack_bf16(right[0], right[1]);
  a[3] = pack_bf16(right[2], right[3]);
}

/// Rows in global memory that a tile is filled from. `vector`: every row begins at a 16-byte
/// boundary and `width` is a multiple of 8.
struct TileSource {
  const bf16* data;
  std::int64_t row_stride;
  int rows;   // rows beyond are zero
  int width;  // elements beyond are zero
  bool vector;
};

/// Fills kRows rows; asynchronous (the caller commits and waits) when `vector`.
template <int kRows, int kThreads, int kWidth>
__device__ __forceinline__ void load_tile(Tile<kWidth> tile, const TileSource& from) {
  if (from.vector) {
    // Threads side by side take 64 columns, so that a thread's chunk and permutation stay put.
    const int chunk = static_cast<int>(threadIdx.x) % 8, first = static_cast<int>(threadIdx.x) / 8;
    constexpr int kRowsAtOnce = kThreads / 8;
    static_assert(kRows % kRowsAtOnce == 0 || kRows < kRowsAtOnce);
    if (kRows < kRowsAtOnce && first >= kRows) return;
    bf16* to = tile.at(first, chunk);
    const bf16* source = from.data + first * from.row_stride + chunk * 8;
#pragma unroll
    for (int i = 0; i < kRows; i += kRowsAtOnce) {
      const bool row_valid = first + i < from.rows;
#pragma unroll
      for (int column = 0; column < kWidth; column += 64) {
        const bool valid = row_valid && column + chunk * 8 < from.width;
        cp_async_16(to + i * kWidth + column, valid ? source + column : from.data, valid);
      }
      source += kRowsAtOnce * from.row_stride;
    }
    return;
  }
#pragma unroll 1
  for (int index = static_cast<int>(threadIdx.x); index < kRows * kWidth; index += kThreads) {
    const int row = index / kWidth, column = index % kWidth;
    const bool valid = row < from.rows && column < from.width;
    tile.at(row, column >> 3)[column & 7] =
        valid ? from.data[row * from.row_stride + column] : __float2bfloat16_rn(0.0f);
  }
}

}  // namespace strait::kernels::cuda
