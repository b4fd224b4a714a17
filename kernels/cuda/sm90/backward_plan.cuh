#pragma once

#include "kernels/cuda/sm90/intervals.cuh"

// The order of the backward's work. An item is a block of keys of one key/value head; it visits the
// tiles of queries that may see it and adds to their dq. Additions to a tile of dq are made in the
// order of the items, which is fixed, so that sums repeat bit for bit.
//
// Key/value heads alternate between two orders. Even ones take blocks of keys from the last to the
// first and each block's tiles of queries upwards: under a causal mask blocks that start together
// then meet each tile one after the other, the later block first. Odd ones take the same blocks
// from the first to the last and their tiles downwards; long blocks follow short ones on each
// multiprocessor, and again meet each tile one after the other. Within a segment of keys whose
// queries see nothing else (a document) either order of blocks must be kept; segments are
// interleaved, so that items of one length stand together.
namespace strait::kernels::cuda::sm90 {

/// A block of keys and the tiles of queries that may see it: [first_tile, last_tile).
struct KeyBlock {
  int block, first_tile, last_tile;
};

/// Blocks of kKeys keys that the rows of a tile of queries meet: [first, last).
struct BlockRange {
  int first, last;
  __device__ __forceinline__ bool has(int block) const { return first <= block && block < last; }
  /// Of `block` among them, in the order of the items.
  __device__ __forceinline__ int rank(int block, bool upwards) const {
    return upwards ? last - 1 - block : block - first;
  }
};

template <int kKeys>
__device__ __forceinline__ BlockRange blocks_of(const Span& span) {
  if (span.empty()) return {0, 0};
  return {span.begin / kKeys, (span.end + kKeys - 1) / kKeys};
}

/// Where an item stands: its part (some query heads of a key/value head) and its place in the order
/// of blocks of keys.
struct ItemPlace {
  int part, at;
  bool upwards;
};

/// As many parts as the grid can start at once form a wave, in which they alternate item by item;
/// every second wave takes blocks of keys, and tiles of queries, in the other direction.
__device__ __forceinline__ ItemPlace place_of(int item, int parts, int blocks, int grid) {
  const int wave_parts = max(1, grid / blocks);
  const int wave = item / (wave_parts * blocks), in_wave = item % (wave_parts * blocks);
  const int size = min(wave_parts, parts - wave * wave_parts);
  const bool upwards = wave % 2 == 0;
  const int at = in_wave / size;
  return {wave * wave_parts + in_wave % size, upwards ? blocks - 1 - at : at, upwards};
}

inline constexpr int kPlanThreads = 1024;
inline constexpr int kMaxPlanned = 2048;  // blocks of keys; more are not interleaved

/// Tiles of queries of each block, and blocks in the order of odd heads. One thread block.
template <int kKeys>
__global__ void __launch_bounds__(kPlanThreads)
    plan_backward(const Span* spans, int tiles, int blocks, KeyBlock* order) {
  __shared__ int rest[kMaxPlanned];  // blocks of the segment from this one on
  const int lane = static_cast<int>(threadIdx.x) % kWarpLanes;
  const int warp = static_cast<int>(threadIdx.x) / kWarpLanes, warps = kPlanThreads / kWarpLanes;
  const bool planned = blocks <= kMaxPlanned;
  // Tiles of each block; whether some tile sees this block and the one before.
  for (int block = warp; block < blocks; block += warps) {
    int first = INT_MAX, last = 0;
    bool joined = false;
    for (int tile = lane; tile < tiles; tile += kWarpLanes) {
      const BlockRange range = blocks_of<kKeys>(spans[tile]);
      if (!range.has(block)) continue;
      first = min(first, tile);
      last = tile + 1;
      joined = joined || range.first < block;
    }
    first = __reduce_min_sync(kFullWarp, first);
    last = __reduce_max_sync(kFullWarp, last);
    joined = __any_sync(kFullWarp, joined);
    if (lane != 0) continue;
    order[block] = {block, first, last};
    if (planned) rest[block] = joined ? 1 : 0;
  }
  __syncthreads();
  if (!planned) return;
  // The end of each block's segment.
  int ends[kMaxPlanned / kPlanThreads];
  KeyBlock mine[kMaxPlanned / kPlanThreads];
#pragma unroll
  for (int i = 0; i < kMaxPlanned / kPlanThreads; ++i) {
    const int block = static_cast<int>(threadIdx.x) + i * kPlanThreads;
    if (block >= blocks) continue;
    int end = block + 1;
    while (end < blocks && rest[end] != 0) ++end;
    ends[i] = end;
    mine[i] = order[block];
  }
  __syncthreads();
#pragma unroll
  for (int i = 0; i < kMaxPlanned / kPlanThreads; ++i) {
    const int block = static_cast<int>(threadIdx.x) + i * kPlanThreads;
    if (block < blocks) rest[block] = ends[i] - block;
  }
  __syncthreads();
#pragma unroll
  for (int i = 0; i < kMaxPlanned / kPlanThreads; ++i) {
    const int block = static_cast<int>(threadIdx.x) + i * kPlanThreads;
    if (block >= blocks) continue;
    int rank = 0;
    for (int j = 0; j < blocks; ++j) {
      rank += rest[j] > rest[block] || (rest[j] == rest[block] && j < block);
    }
    order[rank] = mine[i];
  }
}

}  // namespace strait::kernels::cuda::sm90
