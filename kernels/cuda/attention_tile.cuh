#pragma once

#include <climits>

#include "kernels/cuda/mma_tile.cuh"

// Pieces shared by the tensor-core attention forward and backward: views, key intervals of a tile
// of queries, and the two kinds of product. Thread blocks have four warps.
namespace strait::kernels::cuda::attention {

inline constexpr int kThreads = 128;
inline constexpr float kLog2E = 1.4426950408889634f;

/// A [rows, heads, width] view. `vector`: every row of every head begins at a 16-byte boundary and
/// width is a multiple of 8.
template <class T>
struct Heads {
  T* data;
  std::int64_t row_stride, head_stride;
  int rows, width;
  bool vector;

  __device__ T* at(int row, int head) const { return data + row * row_stride + head * head_stride; }
};

using InputHeads = Heads<const bf16>;
using OutputHeads = Heads<bf16>;

__device__ __forceinline__ TileSource source(const InputHeads& x, int row, int head) {
  return {x.at(row, head), x.row_stride, x.rows - row, x.width, x.vector};
}

/// Keys [begin, end) of each query row, as given.
struct Intervals {
  const int* k_begin;
  const int* k_end;
  int tokens, keys;

  /// {0, 0} for a row without keys or beyond the tokens.
  __device__ int2 at(int row) const {
    if (row >= tokens) return {0, 0};
    const int begin = max(k_begin[row], 0), end = min(k_end[row], keys);
    return begin < end ? int2{begin, end} : int2{0, 0};
  }
};

/// Keys that some row of a tile of queries attends to, [begin, end), and keys that every row does,
/// [full_begin, full_end); either may be empty.
struct KeySpan {
  int begin, end, full_begin, full_end;

  __device__ bool empty() const { return begin >= end; }
  __device__ bool meets(int first, int last) const { return begin < last && first < end; }
  __device__ bool covers(int first, int last) const {
    return full_begin <= first && last <= full_end;
  }
};

/// Span over a warp's intervals, one per lane; the same in every lane.
__device__ __forceinline__ KeySpan span_of_warp(int2 interval) {
  const bool none = interval.x >= interval.y;
  return {__reduce_min_sync(kAllLanes, none ? INT_MAX : interval.x),
          __reduce_max_sync(kAllLanes, none ? 0 : interval.y),
          __reduce_max_sync(kAllLanes, none ? INT_MAX : interval.x),
          __reduce_min_sync(kAllLanes, none ? 0 : interval.y)};
}

__device__ __forceinline__ KeySpan merge(const KeySpan& a, const KeySpan& b) {
  return {min(a.begin, b.begin), max(a.end, b.end), max(a.full_begin, b.full_begin),
          min(a.full_end, b.full_end)};
}

/// Reads the intervals of kRows queries into `intervals` and returns their span. Collective over
/// the block; ends with a barrier.
template <int kRows>
__device__ __forceinline__ KeySpan read_intervals(const Intervals& from, int first,
                                                  int2 (&intervals)[kRows]) {
  constexpr int kWarps = (kRows + kWarp - 1) / kWarp;
  __shared__ KeySpan spans[kWarps];
  if (warp_id() < kWarps) {
    const int row = min(static_cast<int>(threadIdx.x), kRows - 1);
    const int2 interval = from.at(first + row);
    intervals[row] = interval;
    const KeySpan span = span_of_warp(interval);
    if (lane_id() == 0) spans[warp_id()] = span;
  }
  __syncthreads();
  KeySpan span = spans[0];
#pragma unroll
  for (int w = 1; w < kWarps; ++w) span = merge(span, spans[w]);
  return span;
}

/// d = a b^T: 16 kRowTiles rows of `a` from `row`, kColumns rows of `b`, over the tiles' width.
template <int kRowTiles, int kColumns, int kWidth>
__device__ __forceinline__ void multiply(float (&d)[kRowTiles][kColumns / 8][4], Tile<kWidth> a,
                                         int row, Tile<kWidth> b) {
#pragma unroll
  for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
    for (int n = 0; n < kColumns / 8; ++n) d[m][n][0] = d[m][n][1] = d[m][n][2] = d[m][n][3] = 0;
  }
#pragma unroll
  for (int k = 0; k < kWidth / 16; ++k) {
    std::uint32_t fa[kRowTiles][4];
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m) load_a(fa[m], a, row + 16 * m, 2 * k);
#pragma unroll
    for (int n = 0; n < kColumns / 16; ++n) {
      std::uint32_t fb[4];
      load_b(fb, b, 16 * n, 2 * k);
#pragma unroll
      for (int m = 0; m < kRowTiles; ++m) {
        mma_bf16(d[m][2 * n], fa[m], fb[0], fb[1]);
        mma_bf16(d[m][2 * n + 1], fa[m], fb[2], fb[3]);
      }
    }
  }
}

/// d += p b: p in accumulators, rounded to bf16; b is [kDepth][kWidth] from column 8 `chunk` on.
template <int kRowTiles, int kDepth, int kColumns, int kWidth>
__device__ __forceinline__ void accumulate(float (&d)[kRowTiles][kColumns / 8][4],
                                           const float (&p)[kRowTiles][kDepth / 8][4],
                                           Tile<kWidth> b, int chunk = 0) {
#pragma unroll
  for (int k = 0; k < kDepth / 16; ++k) {
    std::uint32_t fa[kRowTiles][4];
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m) pack_a(fa[m], p[m][2 * k], p[m][2 * k + 1]);
#pragma unroll
    for (int n = 0; n < kColumns / 16; ++n) {
      std::uint32_t fb[4];
      load_b_transposed(fb, b, 16 * k, chunk + 2 * n);
#pragma unroll
      for (int m = 0; m < kRowTiles; ++m) {
        mma_bf16(d[m][2 * n], fa[m], fb[0], fb[1]);
        mma_bf16(d[m][2 * n + 1], fa[m], fb[2], fb[3]);
      }
    }
  }
}

/// Writes accumulators times factor[m][half] as bf16 to `tile`, rows from `row`, columns from
/// 8 `chunk` on.
template <int kRowTiles, int kColumns, int kWidth>
__device__ __forceinline__ void stage_rows(Tile<kWidth> tile, int row, int chunk,
                                           const float (&d)[kRowTiles][kColumns / 8][4],
                                           const float (&factor)[kRowTiles][2]) {
  const int lane = lane_id();
#pragma unroll
  for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int r = row + 16 * m + 8 * half + lane / 4;
#pragma unroll
      for (int n = 0; n < kColumns / 8; ++n) {
        auto* at = reinterpret_cast<std::uint32_t*>(tile.at(r, chunk + n)) + lane % 4;
        *at =
            pack_bf16(d[m][n][2 * half] * factor[m][half], d[m][n][2 * half + 1] * factor[m][half]);
      }
    }
  }
}

/// Copies rows [row, row + kRows) of the tile to rows from `first_row` on of one head of x; threads
/// `thread`, thread + kStep, ... share the work.
template <int kRows, int kStep, int kWidth>
__device__ __forceinline__ void store_rows(const OutputHeads& x, int first_row, int head,
                                           Tile<kWidth> tile, int row, int thread) {
  constexpr int kChunks = kWidth / 8;
#pragma unroll 4
  for (int index = thread; index < kRows * kChunks; index += kStep) {
    const int r = index / kChunks, chunk = index % kChunks;
    if (first_row + r >= x.rows || chunk * 8 >= x.width) continue;
    const bf16* from = tile.at(row + r, chunk);
    bf16* to = x.at(first_row + r, head) + chunk * 8;
    if (x.vector) {
      *reinterpret_cast<uint4*>(to) = *reinterpret_cast<const uint4*>(from);
    } else {
      for (int c = 0; c < min(8, x.width - chunk * 8); ++c) to[c] = from[c];
    }
  }
}

}  // namespace strait::kernels::cuda::attention
