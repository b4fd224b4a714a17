#pragma once

#include <algorithm>

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
//
// Where items are too few for the grid, the tiles of each are cut into parts of as many steps, an
// item each; a part of all blocks has dq sums of its own. Parts take the place of heads in the
// order: the first ones go upwards, the second ones, which are short where the first are long,
// downwards.
namespace strait::kernels::cuda::sm90 {

/// A block of keys and the tiles of queries that may see it: [first_tile, last_tile), in parts of
/// part_tiles.
struct KeyBlock {
  int block, first_tile, last_tile;
  int first_before, first_behind;  // first_tile of block - 1 and of block + 1
  int part_tiles;
};

inline constexpr int kMaxParts = 4;     // of an item
inline constexpr int kUncut = 1 << 28;  // part_tiles of items in one part

/// In how many parts items are cut at most: what takes the fewest steps under a causal mask, where
/// the longest item has all tiles. Writing and adding up parts costs steps, too: 0.57 for 1,024
/// rows of a head and part where heads are 128 wide, and as the square of the width (fitted to an
/// H200, 512 to 4,096 tokens, 2 to 16 heads). A gain of less than two steps is none.
inline int parts_of_items(int heads, int blocks, int tiles, int grid, int rows, int width) {
  if (heads * blocks > grid) return 1;
  const double rows_cost = 0.57 * heads * rows / 1024 * width * width / (128.0 * 128);
  const double mean = 0.5 * heads * blocks * (tiles + 1) / grid;
  double fewest = tiles - 2;
  int best = 1;
  for (int parts = 2; parts <= std::min(kMaxParts, tiles / 2); ++parts) {
    const double each = (tiles + parts - 1) / parts;
    // Two parts pair up, the second one short where the first is long; more begin as they come.
    const double steps = std::max(each, mean + (parts > 2 ? each / 2 : 0));
    const double all = steps + rows_cost * (parts + 1) / 2;
    if (all < fewest) {
      fewest = all;
      best = parts;
    }
  }
  return best;
}

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

/// Where an item stands: its head, its part and its place in the order of blocks of keys.
struct ItemPlace {
  int head, part, at;
  bool upwards;
};

/// Heads in a wave: as many as have `scale` times the items that the grid works on at once, but two
/// waves at least where it does not work on all of them at once.
__device__ __forceinline__ int heads_of_wave(int heads, int blocks, int grid, int scale) {
  const int filling = max(1, grid * scale / blocks);
  return heads * blocks <= grid ? filling : min(filling, (heads + 1) / 2);
}

/// The heads of a wave alternate item by item; every second wave takes blocks of keys, and tiles of
/// queries, in the other direction. A wave is a part of all heads where there are several.
__device__ __forceinline__ ItemPlace place_of(int item, int heads, int parts, int blocks,
                                              int wave_heads) {
  const int wave = item / (wave_heads * blocks), in_wave = item % (wave_heads * blocks);
  const int size = min(wave_heads, heads * parts - wave * wave_heads);
  const bool upwards = wave % 2 == 0;
  const int at = in_wave / size, head = wave * wave_heads + in_wave % size;
  return {head % heads, head / heads, upwards ? blocks - 1 - at : at, upwards};
}

/// What a block of kThreads_ threads that plans keeps in shared memory.
template <int kThreads_, int kMaxBlocks_, int kMaxTiles_>
struct BackwardPlan {
  static constexpr int kThreads = kThreads_, kWarps = kThreads / kWarpLanes;
  static constexpr int kMaxBlocks = kMaxBlocks_;  // of keys; more are not interleaved
  static constexpr int kMaxTiles = kMaxTiles_;    // whose ranges are kept at hand
  BlockRange range[kMaxTiles];
  KeyBlock keys[kMaxBlocks];
  unsigned joined[kMaxBlocks / kWarpLanes];  // bit: some tile sees this block and the one before
  int rest[kMaxBlocks];                      // blocks of the segment from this one on
  int most_tiles;                            // of a block
  int uneven;  // not 0: parts of blocks that follow each other would not move along evenly
};

/// For the blocks of the preparation, where everything is small, and for one of its own.
using SmallPlan = BackwardPlan<256, 32, 32>;
using LargePlan = BackwardPlan<1024, 1024, 2048>;

struct PlanParams {
  Span* spans;  // [tiles]
  int tiles, blocks, parts;
  KeyBlock* order;  // [blocks], as waves that go downwards take them
  int* cut_into;    // [blocks] parts of each block, where there are several

  __host__ __device__ bool is_small() const {
    return tiles <= SmallPlan::kMaxTiles && blocks <= SmallPlan::kMaxBlocks;
  }
};

/// Tiles of queries that see `block`, whether one of them sees the block before, and whether one
/// between the first and the last does not see it. By a warp.
template <int kKeys, class Plan>
__device__ __forceinline__ KeyBlock find_tiles(const Plan& plan, const PlanParams& params,
                                               int block, bool& joined, bool& gaps) {
  int first = INT_MAX, last = 0, seen = 0;
  joined = false;
  const int lane = static_cast<int>(threadIdx.x) % kWarpLanes;
  for (int tile = lane; tile < params.tiles; tile += kWarpLanes) {
    const BlockRange range =
        tile < Plan::kMaxTiles ? plan.range[tile] : blocks_of<kKeys>(params.spans[tile]);
    if (!range.has(block)) continue;
    first = min(first, tile);
    last = tile + 1;
    ++seen;
    joined = joined || range.first < block;
  }
  joined = __any_sync(kFullWarp, joined);
  last = __reduce_max_sync(kFullWarp, last);
  first = min(__reduce_min_sync(kFullWarp, first), last);
  gaps = __reduce_add_sync(kFullWarp, seen) < last - first;
  return {block, first, last, 0, 0, kUncut};
}

/// Finds all blocks' tiles, into plan.keys where there is room, else into the order. The block.
template <int kKeys, class Plan>
__device__ __forceinline__ void find_all_tiles(Plan& plan, const PlanParams& params) {
  const bool planned = params.blocks <= Plan::kMaxBlocks;
  const int thread = static_cast<int>(threadIdx.x);
  for (int block = thread / kWarpLanes; block < params.blocks; block += Plan::kWarps) {
    bool joined, gaps;
    const KeyBlock keys = find_tiles<kKeys>(plan, params, block, joined, gaps);
    if (thread % kWarpLanes != 0) continue;
    (planned ? plan.keys : params.order)[block] = keys;
    if (!planned) continue;
    if (joined) atomicOr(&plan.joined[block / kWarpLanes], 1u << block % kWarpLanes);
    if (gaps) atomicOr(&plan.uneven, 1);
    atomicMax(&plan.most_tiles, keys.last_tile - keys.first_tile);
  }
}

/// The first block from `block` + 1 on that begins a segment.
template <class Plan>
__device__ __forceinline__ int end_of_segment(const Plan& plan, int block, int blocks) {
  for (int at = block + 1; at < blocks;) {
    const unsigned starts = ~plan.joined[at / kWarpLanes] >> at % kWarpLanes;
    if (starts != 0) return min(at + __ffs(static_cast<int>(starts)) - 1, blocks);
    at = (at / kWarpLanes + 1) * kWarpLanes;
  }
  return blocks;
}

/// Where the blocks are cut into parts. A tile's dq then has, in each part, blocks that follow each
/// other: their first tiles must not fall.
template <class Plan>
__device__ __forceinline__ int part_tiles_of(const Plan& plan, int parts) {
  return parts == 1 || plan.uneven != 0 ? kUncut : max((plan.most_tiles + parts - 1) / parts, 1);
}

/// Tiles of queries of each block, and the blocks' order and parts. The block, once its threads
/// have set plan.range.
template <int kKeys, class Plan>
__device__ __forceinline__ void plan_items(Plan& plan, const PlanParams& params) {
  const int thread = static_cast<int>(threadIdx.x), lane = thread % kWarpLanes;
  const int blocks = params.blocks;
  for (int i = thread; i < Plan::kMaxBlocks / kWarpLanes; i += Plan::kThreads) plan.joined[i] = 0;
  if (thread == 0) plan.most_tiles = plan.uneven = 0;
  __syncthreads();
  find_all_tiles<kKeys>(plan, params);
  if (blocks > Plan::kMaxBlocks) return;
  __syncthreads();
  for (int block = thread; block < blocks; block += Plan::kThreads) {
    plan.rest[block] = end_of_segment(plan, block, blocks) - block;
    if (block + 1 == blocks) continue;
    const KeyBlock &here = plan.keys[block], &next = plan.keys[block + 1];
    if (next.last_tile > 0 && here.last_tile > 0 && next.first_tile < here.first_tile) {
      atomicOr(&plan.uneven, 1);
    }
  }
  __syncthreads();
  // Sort by what is left of the segment.
  const int part_tiles = part_tiles_of(plan, params.parts);
  for (int block = thread / kWarpLanes; block < blocks; block += Plan::kWarps) {
    const int mine = plan.rest[block];
    int before = 0;
    for (int i = lane; i < blocks; i += kWarpLanes) {
      before += plan.rest[i] > mine || (plan.rest[i] == mine && i < block);
    }
    before = __reduce_add_sync(kFullWarp, before);
    if (lane != 0) continue;
    KeyBlock keys = plan.keys[block];
    keys.first_before = plan.keys[max(block - 1, 0)].first_tile;
    keys.first_behind = plan.keys[min(block + 1, blocks - 1)].first_tile;
    keys.part_tiles = part_tiles;
    params.order[before] = keys;
    if (params.parts == 1) continue;
    const int tiles = keys.last_tile - keys.first_tile;
    params.cut_into[block] = max((tiles + part_tiles - 1) / part_tiles, 1);
  }
}

/// Sets the spans of the tiles and plans. The block.
template <int kKeys, int kQueries, class Plan>
__device__ __forceinline__ void plan_rows(Plan& plan, const PlanParams& params,
                                          const RowIntervals& intervals) {
  const int thread = static_cast<int>(threadIdx.x);
#pragma unroll 2
  for (int tile = thread / kWarpLanes; tile < params.tiles; tile += Plan::kWarps) {
    const Span span = span_of_rows<kQueries>(intervals, tile * kQueries);
    if (thread % kWarpLanes != 0) continue;
    params.spans[tile] = span;
    if (tile < Plan::kMaxTiles) plan.range[tile] = blocks_of<kKeys>(span);
  }
  plan_items<kKeys>(plan, params);
}

/// One thread block; the preparation of the rows may overlap it.
template <int kKeys, int kQueries>
__global__ void __launch_bounds__(LargePlan::kThreads)
    plan_backward(const PlanParams params, const RowIntervals intervals) {
  __shared__ LargePlan plan;
  allow_next_launch();
  plan_rows<kKeys, kQueries>(plan, params, intervals);
}

}  // namespace strait::kernels::cuda::sm90
