#pragma once

#include "kernels/cuda/sm90/forward_steps.cuh"
#include "kernels/cuda/sm90/staging.cuh"

// Attention forward on Hopper (arXiv 2407.08608). A persistent block takes tiles of queries of one
// head; one warp finds out which, one loads by TMA, two or three warpgroups own 64 queries each.
// Keys go from the last to the first, so that causal masking comes first. A warpgroup starts the
// scores of the next keys and the values' product of these together, and works out weights while
// the values' product runs; the warpgroups take turns at starting products.
namespace strait::kernels::cuda::sm90 {

/// Hardware barriers in use beside __syncthreads.
enum ForwardBarrierId : int { kTurn = 1, kGroupSync = 4 };

/// A consumer warpgroup: 64 queries of each tile.
template <class Tile>
class ForwardConsumer {
 public:
  __device__ ForwardConsumer(const ForwardParams& params, ForwardShared<Tile>& shared, int group)
      : params_(params),
        shared_(shared),
        group_(group),
        thread_(static_cast<int>(threadIdx.x) % kWarpgroup),
        row_(thread_ / kWarpLanes * 16 + thread_ % kWarpLanes / 4) {}

  __device__ __forceinline__ void run() {
    if (group_ == Tile::kGroups - 1) pass_turn();
    for (;;) {
      shared_.work_ready.wait_full(at_work_);
      const ForwardWork work = shared_.work[at_work_.stage()];
      shared_.work_ready.release(at_work_);
      at_work_.advance();
      if (work.head < 0) return;
      attend(work);
    }
  }

 private:
  __device__ __forceinline__ void await_turn() { sync_threads(kTurn + group_, 2 * kWarpgroup); }
  __device__ __forceinline__ void pass_turn() {
    arrive_threads(kTurn + (group_ + 1) % Tile::kGroups, 2 * kWarpgroup);
  }

  /// This warpgroup's queries; later its rows of o.
  __device__ __forceinline__ __nv_bfloat16* queries() {
    return shared_.q[at_q_.stage()] + group_ * Tile::kGroupRows * kPieceColumns;
  }

  __device__ __forceinline__ void start_scores() {
    const std::uint64_t keys = operand<Tile::kKeys>(shared_.k[at_k_.stage()]);
    multiply<Tile::kKeys, Tile::kKeys, Along::depth>(s_, q_, keys, false);
    multiply<Tile::kKeys, Tile::kKeyWidth, Tile::kRows, Tile::kKeys, Along::depth, Along::depth,
             Tile::kResident>(s_, operand<Tile::kRows>(queries()), keys, true);
    commit_products();
  }

  __device__ __forceinline__ void start_values(bool add) {
    multiply<Tile::kValueWidth, Tile::kKeys, Along::rows>(
        o_, p_, operand<Tile::kKeys>(shared_.v[at_v_.stage()]), add);
    commit_products();
  }

  __device__ __forceinline__ void mask(const Span& span, const int2 (&interval)[2], int key) {
    if (!span.covers(key, key + Tile::kKeys)) mask_rows(s_, interval, key);
  }

  __device__ __forceinline__ void attend(const ForwardWork& work) {
    const int blocks = work.blocks;
    const int row = work.row + group_ * Tile::kGroupRows + row_;
    const int2 interval[2] = {params_.intervals.at(row), params_.intervals.at(row + 8)};
    Softmax softmax(params_.scale_log2);
    float keep[2];
    shared_.q_ready.wait_full(at_q_);
    load_packed<Tile::kRows>(q_, queries());
    if (blocks > 0) {
      // Scores and weights of the last keys.
      shared_.k_ready.wait_full(at_k_);
      begin_products();
      start_scores();
      wait_products<0>();
      pin(s_);
      release_keys();
      free_stored();
      mask(work.span, interval, work.key<Tile>(0));
      softmax.absorb(s_, keep);
      pack(p_, s_);
      await_keys(blocks > 1);
    }
    for (int i = 1; i < blocks; ++i) {
      // Start the scores of the next keys and the product with these values.
      at_k_.make_uniform();
      at_v_.make_uniform();
      await_turn();
      pin(p_);
      pin(o_);
      begin_products();
      start_scores();
      shared_.v_ready.wait_full(at_v_);
      begin_products();
      start_values(i > 1);
      pass_turn();
      // Weights of the next keys while the values' product runs.
      wait_products<1>();
      pin(s_);
      release_keys();
      mask(work.span, interval, work.key<Tile>(i));
      softmax.absorb(s_, keep);
      await_keys(i + 1 < blocks);
      wait_products<0>();
      pin(o_);
      pin(p_);
      release_values();
      pack(p_, s_);
      if (__any_sync(kFullWarp, keep[0] != 1.0f || keep[1] != 1.0f)) scale_rows(o_, keep);
    }
    if (blocks > 0) {
      // The product with the first values.
      shared_.v_ready.wait_full(at_v_);
      pin(p_);
      pin(o_);
      begin_products();
      start_values(blocks > 1);
      wait_products<0>();
      pin(o_);
      release_values();
    }
    if (work.parts == 1 || gather(work, softmax)) {
      write(work, softmax);
    } else {
      free_queries();
    }
    at_q_.advance();
  }

  __device__ __forceinline__ void await_keys(bool more) {
    if (more) shared_.k_ready.wait_full(at_k_);
  }
  __device__ __forceinline__ void release_keys() {
    shared_.k_ready.release(at_k_);
    at_k_.advance();
  }
  __device__ __forceinline__ void release_values() {
    shared_.v_ready.release(at_v_);
    at_v_.advance();
  }

  /// Leaves this part's sums to the warpgroup that comes last, and returns true with the sums of
  /// all parts if it is this one.
  __device__ __forceinline__ bool gather(const ForwardWork& work, Softmax& softmax) {
    using Part = ForwardPart<Tile::kValueWidth>;
    const int tiles = (params_.intervals.tokens + Tile::kRows - 1) / Tile::kRows;
    const int tile = work.head * tiles + work.row / Tile::kRows;
    Part* const parts =
        static_cast<Part*>(params_.parts.sums) + tile * params_.parts.most * Tile::kGroups + group_;
    leave_part(parts[work.part * Tile::kGroups], o_, softmax.state());
    __threadfence();
    sync_threads(kGroupSync + group_, kWarpgroup);
    if (thread_ == 0) {
      int* const arrived = params_.parts.arrived + tile * Tile::kGroups + group_;
      shared_.arrived[group_] = atomicAdd(arrived, 1);
      if (shared_.arrived[group_] + 1 == work.parts) *arrived = 0;
    }
    sync_threads(kGroupSync + group_, kWarpgroup);
    if (shared_.arrived[group_] + 1 < work.parts) return false;
    __threadfence();
    softmax = Softmax(params_.scale_log2);
    add_parts(parts, work.parts, Tile::kGroups, o_, softmax);
    return true;
  }

  /// Frees the queries of a part whose result others write; its warps have met in gather().
  __device__ __forceinline__ void free_queries() {
    free_stored();
    if (thread_ == 0) shared_.q_ready.empty[at_q_.stage()].arrive();
  }

  /// Normalises, stages the 64 rows in shared memory and stores them.
  __device__ __forceinline__ void write(const ForwardWork& work, Softmax& softmax) {
    float inverse[2], lse[2];
    softmax.finish(params_.unit, inverse, lse);
    const int first = work.row + group_ * Tile::kGroupRows;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = first + row_ + 8 * half;
      if (thread_ % 4 == 0 && row < params_.intervals.tokens) {
        params_.lse[static_cast<std::int64_t>(work.head) * params_.intervals.tokens + row] =
            lse[half];
      }
    }
    if (work.span.empty()) {
#pragma unroll
      for (float& x : o_) x = 0;
    }
    scale_rows(o_, inverse);
    free_stored();
    // Every warp is done with the queries, whose buffer takes the result.
    sync_threads(kGroupSync + group_, kWarpgroup);
    __nv_bfloat16* const staged = queries();
    stage_rows<Tile::kRows>(staged, o_);
    fence_shared_for_async();
    sync_threads(kGroupSync + group_, kWarpgroup);
    if (thread_ == 0) {
#pragma unroll
      for (int piece = 0; piece < Tile::kValueWidth / kPieceColumns; ++piece) {
        store_box(params_.o, staged + piece * Tile::kRows * kPieceColumns, piece * kPieceColumns,
                  first, work.head);
      }
      commit_stores();
    }
    stored_ = true;
    stored_stage_ = at_q_.stage();
    if constexpr (Tile::kQueryStages == 1) free_stored();
  }

  /// Frees the query buffer that the last tile was stored from.
  __device__ __forceinline__ void free_stored() {
    if (stored_ && thread_ == 0) {
      wait_stores_read();
      shared_.q_ready.empty[stored_stage_].arrive();
    }
    stored_ = false;
  }

  const ForwardParams& params_;
  ForwardShared<Tile>& shared_;
  int group_, thread_, row_;
  bool stored_ = false;
  int stored_stage_ = 0;
  Ring<Tile::kQueryStages> at_q_;
  Ring<Tile::kStages> at_k_, at_v_;
  Ring<2> at_work_;
  float s_[Tile::kKeys / 2];
  float o_[Tile::kValueWidth / 2];
  std::uint32_t p_[Tile::kKeys / 16][4];
  std::uint32_t q_[Tile::kResident][4];
};

template <class Tile>
__global__ void __launch_bounds__(Tile::kThreads, 1)
    attention_forward(const __grid_constant__ ForwardParams params) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  static_assert(sizeof(ForwardShared<Tile>) <= kSharedLimit);
  extern __shared__ __align__(1024) unsigned char memory[];
  auto& shared = *reinterpret_cast<ForwardShared<Tile>*>(memory);
  if (threadIdx.x == 0) {
    prefetch_map(params.q);
    prefetch_map(params.k);
    prefetch_map(params.v);
    prefetch_map(params.o);
    shared.q_ready.init(1, Tile::kGroups);
    shared.k_ready.init(1, Tile::kConsumers);
    shared.v_ready.init(1, Tile::kConsumers);
    shared.work_ready.init(1, Tile::kConsumers + 1);
    shared.claim.init(1);
    fence_barrier_init();
  }
  // What costs is a tile's longest part.
  shared.order.template sort<Tile::kRows, Tile::kThreads>(params.intervals, [&](int keys) {
    return keys / params.parts.count((keys + Tile::kKeys - 1) / Tile::kKeys);
  });
  __syncthreads();
  const int group = static_cast<int>(of_warp(threadIdx.x)) / kWarpgroup;
  if (group == 0) {
    release_registers<Tile::kLoaderRegisters>();
    if (threadIdx.x < kWarpLanes) ForwardScheduler<Tile>(params, shared).run();
    if (threadIdx.x == kWarpLanes) ForwardLoader<Tile>(params, shared).run();
  } else {
    take_registers<Tile::kConsumerRegisters>();
    ForwardConsumer<Tile>(params, shared, group - 1).run();
    if (threadIdx.x % kWarpgroup == 0) wait_stores_read();
  }
#endif
}

}  // namespace strait::kernels::cuda::sm90
