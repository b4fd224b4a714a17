#pragma once

#include "kernels/cuda/sm90/intervals.cuh"

// The order of the backward's work. An item is a block of keys of one query head; it visits the
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

/// Where an item stands: its head and its place in the order of blocks of keys.
struct ItemPlace {
  int head, at;
  bool upwards;
};

/// Heads in a wave: as many as have `scale` times the items that the grid works on at once, but two
/// waves at least where it does not work on all of them at once.
__device__ __forceinline__ int heads_of_wave(int heads, int blocks, int grid, int scale) {
  const int filling = max(1, grid * scale / blocks);
  return heads * blocks <= grid ? filling : min(filling, (heads + 1) / 2);
}

/// The heads of a wave alternate item by item; every second wave takes blocks of keys, and tiles of
/// queries, in the other direction.
__device__ __forceinline__ ItemPlace place_of(int item, int heads, int blocks, int wave_heads) {
  const int wave = item / (wave_heads * blocks), in_wave = item % (wave_heads * blocks);
  const int size = min(wave_heads, heads - wave * wave_heads);
  const bool upwards = wave % 2 == 0;
  const int at = in_wave / size;
  return {wave * wave_heads + in_wave % size, upwards ? blocks - 1 - at : at, upwards};
}

inline constexpr int kPlanThreads = 1024;
inline constexpr int kPlanWarps = kPlanThreads / kWarpLanes;
inline constexpr int kMaxPlanned = 1024;  // blocks of keys; more are not interleaved
inline constexpr int kMaxStaged = 2048;   // tiles of queries whose ranges are kept at hand

/// What plan_backward keeps in shared memory.
struct BackwardPlan {
  BlockRange range[kMaxStaged];
  KeyBlock keys[kMaxPlanned];
  unsigned joined[kMaxPlanned / kWarpLanes];  // bit: some tile sees this block and the one before
  int rest[kMaxPlanned];                      // blocks of the segment from this one on
};

/// Tiles of queries that see `block`, and whether one of them sees the block before. By a warp.
template <int kKeys>
__device__ __forceinline__ KeyBlock find_tiles(const BackwardPlan& plan, const Span* spans,
                                               int tiles, int block, bool& joined) {
  int first = INT_MAX, last = 0;
  joined = false;
  for (int tile = static_cast<int>(threadIdx.x) % kWarpLanes; tile < tiles; tile += kWarpLanes) {
    const BlockRange range = tile < kMaxStaged ? plan.range[tile] : blocks_of<kKeys>(spans[tile]);
    if (!range.has(block)) continue;
    first = min(first, tile);
    last = tile + 1;
    joined = joined || range.first < block;
  }
  joined = __any_sync(kFullWarp, joined);
  return {block, __reduce_min_sync(kFullWarp, first), __reduce_max_sync(kFullWarp, last)};
}

/// The first block from `block` + 1 on that begins a segment.
__device__ __forceinline__ int end_of_segment(const BackwardPlan& plan, int block, int blocks) {
  for (int at = block + 1; at < blocks;) {
    const unsigned starts = ~plan.joined[at / kWarpLanes] >> at % kWarpLanes;
    if (starts != 0) return min(at + __ffs(static_cast<int>(starts)) - 1, blocks);
    at = (at / kWarpLanes + 1) * kWarpLanes;
  }
  return blocks;
}

/// Tiles of queries of each block, and blocks in the order of waves that go downwards. One thread
/// block.
template <int kKeys>
__global__ void __launch_bounds__(kPlanThreads)
    plan_backward(const Span* spans, int tiles, int blocks, KeyBlock* order) {
  __shared__ BackwardPlan plan;
  const int thread = static_cast<int>(threadIdx.x), lane = thread % kWarpLanes;
  const bool planned = blocks <= kMaxPlanned;
  for (int tile = thread; tile < min(tiles, kMaxStaged); tile += kPlanThreads) {
    plan.range[tile] = blocks_of<kKeys>(spans[tile]);
  }
  for (int i = thread; i < kMaxPlanned / kWarpLanes; i += kPlanThreads) plan.joined[i] = 0;
  __syncthreads();
  for (int block = thread / kWarpLanes; block < blocks; block += kPlanWarps) {
    bool joined;
    const KeyBlock keys = find_tiles<kKeys>(plan, spans, tiles, block, joined);
    if (lane != 0) continue;
    (planned ? plan.keys : order)[block] = keys;
    if (planned && joined) atomicOr(&plan.joined[block / kWarpLanes], 1u << block % kWarpLanes);
  }
  if (!planned) return;
  __syncthreads();
  for (int block = thread; block < blocks; block += kPlanThreads) {
    plan.rest[block] = end_of_segment(plan, block, blocks) - block;
  }
  __syncthreads();
  // Sort by what is left of the segment.
  for (int block = thread / kWarpLanes; block < blocks; block += kPlanWarps) {
    const int mine = plan.rest[block];
    int before = 0;
    for (int i = lane; i < blocks; i += kWarpLanes) {
      before += plan.rest[i] > mine || (plan.rest[i] == mine && i < block);
    }
    before = __reduce_add_sync(kFullWarp, before);
    if (lane == 0) order[before] = plan.keys[block];
  }
}

}  // namespace strait::kernels::cuda::sm90
