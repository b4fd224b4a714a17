#pragma once

#include "kernels/cuda/sm90/backward_plan.cuh"
#include "kernels/cuda/sm90/backward_rows.cuh"
#include "kernels/cuda/sm90/turns.cuh"
#include "kernels/cuda/sm90/wgmma.cuh"

// What the backward kernel (attention_bwd.cuh) works on, and its threads outside of the consumers:
// one takes items and loads keys and queries, one loads gradients of o, two add dq to global
// memory.
namespace strait::kernels::cuda::sm90 {

/// Tiles of kQueries_ queries by 128 keys. The limits are shared memory (227 KiB) and 240 registers
/// a thread: dk and dv (kKeyWidth / 2 + kValueWidth / 2), two sets of scores (kQueries / 2 each),
/// their bf16 (kQueries / 4), and what is left keeps kResident_ of the kValueWidth / 16 steps of
/// the values, which spares shared memory their reads. A wave takes kWaveScale_ times the heads
/// that fill the grid (backward_plan.cuh): steps that are short beside the way of dq to memory need
/// more time between the additions to a tile.
template <int kKeyWidth_, int kValueWidth_, int kQueries_, int kResident_, int kWaveScale_>
struct BackwardTile {
  static constexpr int kKeyWidth = kKeyWidth_, kValueWidth = kValueWidth_;
  static constexpr int kGroups = 2;  // consumer warpgroups
  // Where dk and dv of 64 keys fill a warpgroup each (backward_roles.cuh).
  static constexpr bool kSplitRoles = kKeyWidth + kValueWidth > 320;
  static constexpr int kKeys = kSplitRoles ? 64 : 128, kQueries = kQueries_;
  static constexpr int kGroupKeys = 64, kKeyTiles = kKeys / kGroupKeys;
  static constexpr bool kSplitRows = kQueries == 128;  // dq between the warpgroups, else columns
  static constexpr int kSlices = kSplitRoles ? 2 : 1;  // of dq, one after the other
  static constexpr int kStrips = kSlices * kGroups;    // of dq, or its rows
  static constexpr int kQueryColumns = kSplitRows ? kKeyWidth : kKeyWidth / kStrips;
  // Of these, whole pieces; what is left over of two strips makes one more piece.
  static constexpr int kRestColumns = kQueryColumns % kPieceColumns;
  static constexpr int kMainColumns = kQueryColumns - kRestColumns;
  static constexpr int kResident = kResident_, kWaveScale = kWaveScale_;
  // Whether registers allow to start the next scores, and the weights' gradients, early.
  static constexpr bool kAhead = kKeyWidth + kValueWidth <= 256;
  // Whether score gradients are multiplied as pairs of bf16; where it was measured.
  static constexpr bool kPairedGrads = kAhead && kQueries == 64;
  static constexpr int kStages = 2, kOutStages = kSplitRoles ? 1 : 2, kSumStages = kAhead ? 2 : 1;
  static constexpr int kScoreStages = (kAhead || kSplitRoles) && kQueries == 64 ? 2 : 1;
  static constexpr int kThreads = (1 + kGroups) * kWarpgroup;
  static constexpr int kConsumers = kGroups * kWarpgroup;
  using Stats = RowStats<kQueries>;
  using QuerySums = SumTile<kQueryColumns>;
  using KeySums = SumTile<kKeyWidth>;
  using ValueSums = SumTile<kValueWidth>;
};

template <class Tile>
struct BackwardParams {
  CUtensorMap q, dout;  // boxes of kQueries rows
  CUtensorMap k, v;     // boxes of kKeys rows
  CUtensorMap dk, dv;   // boxes of kGroupKeys rows
  int heads, heads_per_group, tiles, blocks;
  int parts;  // of an item, at most (backward_plan.cuh)
  float scale, scale_log2;
  // In the workspace.
  typename Tile::Stats* stats = nullptr;               // [heads, tiles]
  TileIntervals<Tile::kQueries>* row_spans = nullptr;  // [tiles]
  Span* spans = nullptr;                               // [tiles]
  KeyBlock* order = nullptr;                           // [blocks]
  int* cut_into = nullptr;                             // [blocks] parts, where there are several
  typename Tile::QuerySums* dq = nullptr;              // [heads, parts, tiles, kStrips]
  // Where key/value heads have more than one query head or part: [heads, parts, blocks, kKeyTiles].
  typename Tile::KeySums* dk_parts = nullptr;
  typename Tile::ValueSums* dv_parts = nullptr;
  int* turns = nullptr;    // [heads, parts, tiles] place behind the last addition so far; 0: none
  int* claimed = nullptr;  // items taken so far

  __host__ __device__ bool adds_keys() const { return heads_per_group * parts > 1; }
};

/// One tile of queries of one head under one block of keys: the unit of work. head < 0 ends the
/// kernel.
struct BackwardStep {
  int head, part, block, tile;
  int rank;          // place among the additions to this tile of dq; -1: nothing to add
  bool assigns;      // the first of its part
  bool masked;       // some of its rows do not see all keys
  bool first, last;  // of the item
  bool whole;        // no other item has gradients of these keys
};

/// Weights on their way from one role to the other, as threads hold them.
template <class Tile, bool = Tile::kSplitRoles>
struct PackedWeights {
  uint4 step[Tile::kScoreStages][Tile::kQueries / 16][kWarpgroup];
};
template <class Tile>
struct PackedWeights<Tile, false> {};

template <class Tile>
struct alignas(1024) BackwardShared {
  __nv_bfloat16 k[Tile::kKeys * Tile::kKeyWidth];
  __nv_bfloat16 v[Tile::kKeys * Tile::kValueWidth];
  __nv_bfloat16 q[Tile::kStages][Tile::kQueries * Tile::kKeyWidth];
  __nv_bfloat16 dout[Tile::kOutStages][Tile::kQueries * Tile::kValueWidth];
  __nv_bfloat16 ds[Tile::kScoreStages][Tile::kKeys * Tile::kQueries];  // [key][query]
  typename Tile::QuerySums dq[Tile::kSumStages][Tile::kGroups];  // aligned as the above, for speed
  PackedWeights<Tile> weights;
  typename Tile::Stats stats[Tile::kStages];
  TileIntervals<Tile::kQueries> row_spans[Tile::kStages];
  BackwardStep step[2 * Tile::kStages];
  RingBarriers<1> keys_ready;
  RingBarriers<Tile::kStages> q_ready;
  RingBarriers<Tile::kOutStages> dout_ready;
  RingBarriers<Tile::kSumStages> dq_ready;
  RingBarriers<Tile::kScoreStages> weights_ready, ds_ready;  // between roles
  RingBarriers<2 * Tile::kStages> step_ready;  // ahead of the others: steps are known early

  __device__ __forceinline__ void init() {
    keys_ready.init(1, Tile::kConsumers);
    q_ready.init(1, Tile::kConsumers);
    dout_ready.init(1, Tile::kConsumers);
    dq_ready.init(Tile::kConsumers, 1);
    weights_ready.init(kWarpgroup, kWarpgroup);
    ds_ready.init(kWarpgroup, Tile::kConsumers);
    step_ready.init(1, Tile::kConsumers + 2);
    fence_barrier_init();
  }
};

/// The thread that takes items, tells their steps and loads keys, values and queries.
template <class Tile>
class ItemLoader {
 public:
  __device__ ItemLoader(const BackwardParams<Tile>& params, BackwardShared<Tile>& shared)
      : params_(params), shared_(shared) {}

  __device__ __forceinline__ void run() {
    const int heads = params_.heads, blocks = params_.blocks, parts = params_.parts;
    const int filling = heads_of_wave(heads, blocks, static_cast<int>(gridDim.x), Tile::kWaveScale);
    const int items = heads * parts * blocks, wave_heads = parts > 1 ? heads : filling;
    for (int item = claim(); item < items; item = claim()) {
      const ItemPlace place = place_of(item, heads, parts, blocks, wave_heads);
      walk(place, params_.order[place.at]);
    }
    // One end for each of the threads that add dq.
    tell({-1, 0, 0, 0, 0, false, false, true, true, true});
    tell({-1, 0, 0, 0, 0, false, false, true, true, true});
  }

 private:
  __device__ __forceinline__ int claim() { return atomicAdd(params_.claimed, 1); }

  /// All steps of an item: the tiles of queries that see the keys. A first part without any has a
  /// masked step, since its gradients are to be written all the same.
  __device__ __forceinline__ void walk(const ItemPlace& place, const KeyBlock& keys) {
    const int shift = place.part * keys.part_tiles, key = keys.block * Tile::kKeys;
    const int first = keys.first_tile + shift, end = min(first + keys.part_tiles, keys.last_tile);
    const bool idle = keys.first_tile >= keys.last_tile;
    if (place.part > 0 && (idle || first >= end)) return;
    const int count = idle ? 1 : end - first;
    const bool whole =
        params_.heads_per_group == 1 && keys.last_tile - keys.first_tile <= keys.part_tiles;
    // The block whose addition to a tile comes right before, if the tile is in its part, too: from
    // `limit` on upwards, before it downwards.
    const int towards = place.upwards ? 1 : -1;
    const int limit =
        place.upwards ? keys.first_behind + shift : keys.first_before + shift + keys.part_tiles;
    int tile = idle ? 0 : place.upwards ? first : end - 1;
#pragma unroll 1
    for (int i = 0; i < count; ++i) {
      const Span span = params_.spans[tile];
      const BlockRange range = blocks_of<Tile::kKeys>(span);
      const bool follows = range.has(keys.block + towards) && place.upwards == (tile >= limit);
      if (idle || range.has(keys.block)) {
        load({place.head, place.part, keys.block, tile,
              idle ? -1 : range.rank(keys.block, place.upwards), !follows,
              !span.covers(key, key + Tile::kKeys), i == 0, i + 1 == count, whole});
      }
      tile += towards;
    }
  }

  __device__ __forceinline__ void tell(const BackwardStep& step) {
    const Ring<2 * Tile::kStages> at{at_.count};
    shared_.step_ready.wait_empty(at);
    shared_.step[at.stage()] = step;
    shared_.step_ready.full[at.stage()].arrive();
    at_.advance();
  }

  __device__ __forceinline__ void load(const BackwardStep& step) {
    const Ring<Tile::kStages> at = at_;
    Barrier& full = shared_.q_ready.full[at.stage()];
    auto& lse = shared_.stats[at.stage()].lse;
    auto& row_spans = shared_.row_spans[at.stage()];
    tell(step);
    shared_.q_ready.wait_empty(at);
    full.arrive_expecting(sizeof(shared_.q[0]) + sizeof(lse) + sizeof(row_spans));
    load_tile<Tile::kQueries, Tile::kKeyWidth>(params_.q, full, shared_.q[at.stage()],
                                               step.tile * Tile::kQueries, step.head);
    load_bytes(params_.stats[step.head * params_.tiles + step.tile].lse, full, lse, sizeof(lse));
    load_bytes(&params_.row_spans[step.tile], full, &row_spans, sizeof(row_spans));
    if (step.first) load_keys(step);
  }

  __device__ __forceinline__ void load_keys(const BackwardStep& step) {
    Barrier& full = shared_.keys_ready.full[0];
    shared_.keys_ready.wait_empty(at_keys_);
    full.arrive_expecting(sizeof(shared_.k) + sizeof(shared_.v));
    const int row = step.block * Tile::kKeys, group = step.head / params_.heads_per_group;
    load_tile<Tile::kKeys, Tile::kKeyWidth>(params_.k, full, shared_.k, row, group);
    load_tile<Tile::kKeys, Tile::kValueWidth>(params_.v, full, shared_.v, row, group);
    at_keys_.advance();
  }

  const BackwardParams<Tile>& params_;
  BackwardShared<Tile>& shared_;
  Ring<1> at_keys_;
  Ring<Tile::kStages> at_;
};

/// The step at `at`, for a thread outside of the consumers.
template <class Tile>
__device__ __forceinline__ BackwardStep receive(BackwardShared<Tile>& shared, unsigned count) {
  const Ring<2 * Tile::kStages> at{count};
  shared.step_ready.wait_full(at);
  const BackwardStep step = shared.step[at.stage()];
  shared.step_ready.empty[at.stage()].arrive();
  return step;
}

/// The thread that loads the gradients of o.
template <class Tile>
__device__ __forceinline__ void load_grads(const BackwardParams<Tile>& params,
                                           BackwardShared<Tile>& shared) {
  for (Ring<Tile::kOutStages> at;; at.advance()) {
    const BackwardStep step = receive(shared, at.count);
    if (step.head < 0) return;
    Barrier& full = shared.dout_ready.full[at.stage()];
    auto& delta = shared.stats[at.stage()].delta;
    shared.dout_ready.wait_empty(at);
    full.arrive_expecting(sizeof(shared.dout[0]) + sizeof(delta));
    load_tile<Tile::kQueries, Tile::kValueWidth>(params.dout, full, shared.dout[at.stage()],
                                                 step.tile * Tile::kQueries, step.head);
    load_bytes(params.stats[step.head * params.tiles + step.tile].delta, full, delta,
               sizeof(delta));
  }
}

/// A thread that adds the consumers' dq to global memory, of the steps `first`, first + kSumStages,
/// ..., each once the items before this one have added theirs.
template <class Tile>
__device__ __forceinline__ void add_query_grads(const BackwardParams<Tile>& params,
                                                BackwardShared<Tile>& shared, unsigned first) {
  for (Ring<Tile::kSumStages> at{first};; at.count += Tile::kSumStages) {
    const BackwardStep step = receive(shared, at.count);
    if (step.head < 0) return;
    const int tile = (step.head * params.parts + step.part) * params.tiles + step.tile;
    wait_for_turn(params.turns + tile, step.assigns ? 0 : step.rank);
#pragma unroll
    for (int slice = 0; slice < Tile::kSlices; ++slice) {
      const Ring<Tile::kSumStages> sums{at.count * Tile::kSlices + slice};
      shared.dq_ready.wait_full(sums);
      auto* const from = shared.dq[sums.stage()];
      auto* const to = params.dq + tile * Tile::kStrips + slice * Tile::kGroups;
      if (step.rank >= 0 && step.assigns) store_bytes(to, from, sizeof(shared.dq[0]));
      if (step.rank >= 0 && !step.assigns) add_floats(to, from, sizeof(shared.dq[0]));
      commit_stores();
      wait_stores_read();
      shared.dq_ready.empty[sums.stage()].arrive();
    }
    wait_stores();
    if (step.rank >= 0) pass_turn(params.turns + tile, step.rank);
  }
}

}  // namespace strait::kernels::cuda::sm90
