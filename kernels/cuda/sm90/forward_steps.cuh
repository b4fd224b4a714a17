#pragma once

#include "kernels/cuda/sm90/forward_parts.cuh"
#include "kernels/cuda/sm90/schedule.cuh"
#include "kernels/cuda/sm90/tma.cuh"

// What the forward kernel (attention_fwd.cuh) works on, and its warps outside of the consumers: one
// claims tiles and finds their keys, one loads.
namespace strait::kernels::cuda::sm90 {

/// kGroups_ consumer warpgroups, kKeys_ keys a step. The limits are shared memory (227 KiB) and
/// the registers of a thread (240 with two warpgroups, 160 with three): sums (kValueWidth / 2),
/// scores (kKeys / 2), weights (kKeys / 4), and what is left keeps kResident_ of the kKeyWidth / 16
/// steps of the queries, which spares shared memory their reads at every step.
template <int kKeyWidth_, int kValueWidth_, int kGroups_, int kKeys_, int kQueryStages_,
          int kResident_>
struct ForwardTile {
  static constexpr int kKeyWidth = kKeyWidth_, kValueWidth = kValueWidth_, kKeys = kKeys_;
  static constexpr int kGroups = kGroups_;
  static constexpr int kGroupRows = 64, kRows = kGroups * kGroupRows;
  static constexpr int kQueryStages = kQueryStages_, kStages = 2, kResident = kResident_;
  static constexpr int kThreads = (1 + kGroups) * kWarpgroup;
  static constexpr int kConsumers = kGroups * kWarpgroup;
  static constexpr int kConsumerRegisters = kGroups == 2 ? 240 : 160;
  static constexpr int kLoaderRegisters = kGroups == 2 ? 24 : 32;
  static constexpr int kMaxTiles = 1024;
};

struct ForwardParams {
  CUtensorMap q, k, v;  // boxes of kRows, kKeys, kKeys rows
  CUtensorMap o;        // boxes of kGroupRows rows
  float* lse;           // [heads, tokens]
  RowIntervals intervals;
  ItemCounters* counters;
  ForwardParts parts;
  int heads, heads_per_group, sections;
  float scale_log2;
  float2 unit;  // nats in a unit of the scaled scores: .x + .y
};

/// One tile of queries, or a part of its keys. head < 0 ends the kernel.
struct ForwardWork {
  int head, row;
  Span span;          // of the tile
  int part, parts;    // which of how many
  int first, blocks;  // blocks of keys, counted from the last keys

  /// First key of the index-th block; negative keys read as zero.
  template <class Tile>
  __device__ __forceinline__ int key(int index) const {
    return span.end - (first + index + 1) * Tile::kKeys;
  }
};

template <class Tile>
struct alignas(1024) ForwardShared {
  __nv_bfloat16 q[Tile::kQueryStages][Tile::kRows * Tile::kKeyWidth];  // later the tile's o
  __nv_bfloat16 k[Tile::kStages][Tile::kKeys * Tile::kKeyWidth];
  __nv_bfloat16 v[Tile::kStages][Tile::kKeys * Tile::kValueWidth];
  RingBarriers<Tile::kQueryStages> q_ready;
  RingBarriers<Tile::kStages> k_ready, v_ready;
  RingBarriers<2> work_ready;
  Barrier claim;  // the next tile is to be claimed
  ForwardWork work[2];
  int arrived[Tile::kGroups];  // parts of the tile that others have left
  TileOrder<Tile::kMaxTiles> order;
};

__device__ __forceinline__ bool is_leader() {
  return threadIdx.x % kWarpLanes == 0;
}

/// The warp that claims tiles and finds their spans. It does so as late as loading allows, for the
/// blocks of the grid to end together.
template <class Tile>
class ForwardScheduler {
 public:
  __device__ ForwardScheduler(const ForwardParams& params, ForwardShared<Tile>& shared)
      : params_(params),
        shared_(shared),
        tiles_((params.intervals.tokens + Tile::kRows - 1) / Tile::kRows),
        queue_{params.counters, tiles_ * params.parts.most * params.heads},
        sections_{params.heads / params.heads_per_group, params.sections, params.heads_per_group,
                  tiles_ * params.parts.most} {}

  __device__ __forceinline__ void run() {
    Ring<2> at;
    for (Ring<1> claim;; claim.advance()) {
      if (claim.count > 0) shared_.claim.wait(claim.phase() ^ 1);
      const ForwardWork work = next();
      shared_.work_ready.wait_empty(at);
      if (is_leader()) {
        shared_.work[at.stage()] = work;
        shared_.work_ready.full[at.stage()].arrive();
      }
      at.advance();
      if (work.head < 0) return;
    }
  }

 private:
  /// The next part that the tile at its place in the order has.
  __device__ __forceinline__ ForwardWork next() {
    for (;;) {
      const int item = queue_.next();
      if (item < 0) return {.head = -1};
      const int2 place = sections_.place_of(item);
      const int rank = place.y / params_.parts.most, part = place.y % params_.parts.most;
      const int row = shared_.order.at(rank, tiles_) * Tile::kRows;
      const Span span = span_of_rows<Tile::kRows>(params_.intervals, row);
      const int blocks = span.empty() ? 0 : (span.end - span.begin + Tile::kKeys - 1) / Tile::kKeys;
      const int parts = params_.parts.count(blocks);
      if (part >= parts) continue;
      const int first = blocks * part / parts, last = blocks * (part + 1) / parts;
      return {place.x, row, span, part, parts, first, last - first};
    }
  }

  const ForwardParams& params_;
  ForwardShared<Tile>& shared_;
  int tiles_;
  ItemQueue queue_;
  Sections sections_;
};

/// The warp that loads what the tiles need; one of its threads does.
template <class Tile>
class ForwardLoader {
 public:
  __device__ ForwardLoader(const ForwardParams& params, ForwardShared<Tile>& shared)
      : params_(params), shared_(shared) {}

  __device__ __forceinline__ void run() {
    for (;;) {
      shared_.work_ready.wait_full(at_work_);
      const ForwardWork work = shared_.work[at_work_.stage()];
      shared_.work_ready.empty[at_work_.stage()].arrive();
      at_work_.advance();
      if (work.head < 0) return;
      load(work);
    }
  }

 private:
  static constexpr int kClaimAhead = 1;  // blocks of keys that a claim takes

  /// Keys run a block ahead of values, as their products do.
  __device__ __forceinline__ void load(const ForwardWork& work) {
    const int blocks = work.blocks, group = work.head / params_.heads_per_group;
    shared_.q_ready.wait_empty(at_q_);
    Barrier& q_full = shared_.q_ready.full[at_q_.stage()];
    q_full.arrive_expecting(sizeof(shared_.q[0]));
    load_tile<Tile::kRows, Tile::kKeyWidth>(params_.q, q_full, shared_.q[at_q_.stage()], work.row,
                                            work.head);
    at_q_.advance();
#pragma unroll 1
    for (int i = 0; i <= blocks; ++i) {
      if (i == max(blocks - kClaimAhead, 0)) shared_.claim.arrive();
      if (i < blocks) load_keys(work.key<Tile>(i), group);
      if (i > 0) load_values(work.key<Tile>(i - 1), group);
    }
  }

  __device__ void load_keys(int key, int group) {
    Barrier& full = shared_.k_ready.full[at_k_.stage()];
    shared_.k_ready.wait_empty(at_k_);
    full.arrive_expecting(sizeof(shared_.k[0]));
    load_tile<Tile::kKeys, Tile::kKeyWidth>(params_.k, full, shared_.k[at_k_.stage()], key, group);
    at_k_.advance();
  }

  __device__ void load_values(int key, int group) {
    Barrier& full = shared_.v_ready.full[at_v_.stage()];
    shared_.v_ready.wait_empty(at_v_);
    full.arrive_expecting(sizeof(shared_.v[0]));
    load_tile<Tile::kKeys, Tile::kValueWidth>(params_.v, full, shared_.v[at_v_.stage()], key,
                                              group);
    at_v_.advance();
  }

  const ForwardParams& params_;
  ForwardShared<Tile>& shared_;
  Ring<Tile::kQueryStages> at_q_;
  Ring<Tile::kStages> at_k_, at_v_;
  Ring<2> at_work_;
};

}  // namespace strait::kernels::cuda::sm90
