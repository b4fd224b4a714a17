#pragma once

#include "kernels/cuda/sm90/intervals.cuh"

// Which tiles of queries a block of the persistent forward kernel works on, in which order.
namespace strait::kernels::cuda::sm90 {

/// Tiles of queries in order of falling cost, worked out by every block for itself. Costs are
/// guessed from a tile's first and last row, so they decide about time alone, never about results.
template <int kMaxTiles>
struct TileOrder {
  int cost[kMaxTiles];
  std::uint16_t tile[kMaxTiles];

  /// Collective over the block; the caller synchronises before at(). Beyond kMaxTiles the last
  /// tiles come first, unsorted.
  template <int kRows, int kThreads>
  __device__ void sort(const RowIntervals& intervals) {
    const int tiles = (intervals.tokens + kRows - 1) / kRows;
    if (tiles > kMaxTiles) return;
    for (int i = static_cast<int>(threadIdx.x); i < tiles; i += kThreads) {
      const int first = i * kRows, last = min(first + kRows, intervals.tokens) - 1;
      cost[i] = intervals.k_end[last] - intervals.k_begin[first];
    }
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.x); i < tiles; i += kThreads) {
      const int mine = cost[i];
      int rank = 0;
      for (int j = 0; j < tiles; ++j) rank += cost[j] > mine || (cost[j] == mine && j < i);
      tile[rank] = static_cast<std::uint16_t>(i);
    }
  }

  __device__ __forceinline__ int at(int rank, int tiles) const {
    return tiles > kMaxTiles ? tiles - 1 - rank : tile[rank];
  }
};

/// Deals items 0, 1, ... of falling cost to the grid's blocks: there and back again, so that sums
/// of costs come out alike.
struct Deal {
  int items;
  int round = 0;

  /// This block's next item, or -1 after the last.
  __device__ __forceinline__ int next() {
    const int blocks = static_cast<int>(gridDim.x), block = static_cast<int>(blockIdx.x);
    const int item = round * blocks + (round % 2 == 0 ? block : blocks - 1 - block);
    ++round;
    return item < items ? item : -1;
  }
};

}  // namespace strait::kernels::cuda::sm90
