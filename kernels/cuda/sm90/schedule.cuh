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

  /// Collective over the block; the caller synchronises before at(). `cost_of`: of as many keys.
  /// Beyond kMaxTiles the last tiles come first, unsorted.
  template <int kRows, int kThreads, class Cost>
  __device__ void sort(const RowIntervals& intervals, const Cost& cost_of) {
    const int tiles = (intervals.tokens + kRows - 1) / kRows;
    if (tiles > kMaxTiles) return;
    for (int i = static_cast<int>(threadIdx.x); i < tiles; i += kThreads) {
      const int first = i * kRows, last = min(first + kRows, intervals.tokens) - 1;
      cost[i] = cost_of(intervals.k_end[last] - intervals.k_begin[first]);
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

/// Counters in device memory, zero before a kernel and after it.
struct ItemCounters {
  int claimed, finished;
};

/// Hands out items 0, 1, ... to the blocks of a grid as they ask. For one whole warp per block.
struct ItemQueue {
  ItemCounters* counters;
  int items;
  bool started = false;

  /// The block's next item, or -1 after the last; then not to be called again.
  __device__ __forceinline__ int next() {
    const bool leader = threadIdx.x % kWarpLanes == 0;
    int item = static_cast<int>(blockIdx.x);
    if (started) {
      if (leader) item = static_cast<int>(gridDim.x) + atomicAdd(&counters->claimed, 1);
      item = __shfl_sync(kFullWarp, item, 0);
    }
    started = true;
    if (item < items) return item;
    if (leader) leave();
    return -1;
  }

 private:
  /// The last block to leave clears the counters.
  __device__ __forceinline__ void leave() {
    __threadfence();
    if (atomicAdd(&counters->finished, 1) + 1 < static_cast<int>(gridDim.x)) return;
    counters->claimed = 0;
    counters->finished = 0;
  }
};

/// Key/value heads in sections whose keys and values fit in the L2 cache together: all tiles of a
/// section come before those of the next.
struct Sections {
  int groups, sections, heads_per_group, tiles;
  int section = 0, first_item = 0;

  __device__ __forceinline__ int group_of(int at) const { return at * groups / sections; }

  /// Head and rank in the order of tiles of an item; items must not fall from call to call.
  __device__ __forceinline__ int2 place_of(int item) {
    int first, heads;
    for (;; ++section) {
      first = group_of(section) * heads_per_group;
      heads = group_of(section + 1) * heads_per_group - first;
      if (item < first_item + heads * tiles) break;
      first_item += heads * tiles;
    }
    const int at = item - first_item;
    return {first + at % heads, at / heads};
  }
};

}  // namespace strait::kernels::cuda::sm90
