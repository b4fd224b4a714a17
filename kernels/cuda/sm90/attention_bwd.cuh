#pragma once

#include "kernels/cuda/sm90/backward_steps.cuh"
#include "kernels/cuda/sm90/staging.cuh"

// Attention backward on Hopper: dq, dk and dv from five products a step (arXiv 2307.08691,
// algorithm 2). A persistent block takes a block of keys of one query head at a time and walks over
// the tiles of queries that see it. Scores are kept transposed, [key][query]: as sums in registers
// they are already the first operand of the products for dk and dv. Each of two warpgroups owns 64
// keys; for dq, which sums over all keys, score gradients go through shared memory and each
// warpgroup takes half of the columns or rows. dq is added up in fp32 in global memory by TMA, in
// the order that backward_plan.cuh sets; dk and dv of heads that share keys are added up
// afterwards.
namespace strait::kernels::cuda::sm90 {

/// Hardware barriers in use beside __syncthreads.
enum BackwardBarrierId : int { kConsumerSync = 1, kKeyGroupSync = 2 };

/// A consumer warpgroup: 64 keys of each block.
template <class Tile>
class BackwardConsumer {
 public:
  __device__ BackwardConsumer(const BackwardParams<Tile>& params, BackwardShared<Tile>& shared,
                              int group)
      : params_(params),
        shared_(shared),
        group_(group),
        thread_(static_cast<int>(threadIdx.x) % kWarpgroup) {}

  __device__ __forceinline__ void run() {
    for (;;) {
      const BackwardStep step = await_step();
      if (step.head < 0) return;
#pragma unroll
      for (float& x : dk_) x = 0;
#pragma unroll
      for (float& x : dv_) x = 0;
      shared_.keys_ready.wait_full(at_keys_);
      load_packed<Tile::kKeys>(v_, shared_.v + group_ * Tile::kGroupKeys * kPieceColumns);
      differentiate(step.block * Tile::kKeys + group_ * Tile::kGroupKeys);
      write(step);
      at_keys_.advance();
    }
  }

 private:
  __device__ __forceinline__ BackwardStep await_step() {
    const Ring<2 * Tile::kStages> at{at_.count};
    shared_.step_ready.wait_full(at);
    return shared_.step[at.stage()];
  }

  /// All steps of an item.
  __device__ __forceinline__ void differentiate(int first_key) {
    shared_.q_ready.wait_full(at_);
    begin_products();
    start_scores(at_.stage());
    for (;;) {
      const BackwardStep step = await_step();
      // Weights of the scores under way, while the weights' gradients are worked out.
      shared_.dout_ready.wait_full(at_);
      wait_products<0>();
      pin(s_);
      begin_products();
      start_weight_grads();
      weigh(step, first_key);
      pack(a_, s_);
      // dV += P^T dO.
      pin(a_);
      begin_products();
      multiply<Tile::kValueWidth, Tile::kQueries, Along::rows>(
          dv_, a_, operand<Tile::kQueries>(shared_.dout[at_.stage()]));
      commit_products();
      wait_products<1>();
      pin(dp_);
      // Score gradients, for both warpgroups.
      differentiate_scores();
      pack(b_, dp_);
      // dK += dS^T Q, then dQ = dS K.
      pin(b_);
      begin_products();
      multiply<Tile::kKeyWidth, Tile::kQueries, Along::rows>(
          dk_, b_, operand<Tile::kQueries>(shared_.q[at_.stage()]));
      commit_products();
      if constexpr (Tile::kScoreStages == 1) sync_threads(kConsumerSync, Tile::kConsumers);
      stage_packed<Tile::kKeys>(scores() + group_ * Tile::kGroupKeys * kPieceColumns, b_);
      fence_shared_for_async();
      sync_threads(kConsumerSync, Tile::kConsumers);
      begin_products();
      start_query_grads();
      wait_products<1>();
      pin(dk_);
      pin(dv_);
      pin(a_);
      pin(b_);
      free_loaded();
      // Start the next scores.
      Ring<Tile::kStages> next = at_;
      next.advance();
      if (!step.last) shared_.q_ready.wait_full(next);
      begin_products();
      start_scores(next.stage());
      wait_products<1>();
      pin(dq_);
      hand_over();
      at_.advance();
      if (step.last) break;
    }
    wait_products<0>();
    pin(s_);
  }

  __device__ __forceinline__ void start_scores(int stage) {
    multiply<Tile::kQueries, Tile::kKeyWidth, Tile::kKeys, Tile::kQueries>(
        s_, operand<Tile::kKeys>(shared_.k + group_ * Tile::kGroupKeys * kPieceColumns),
        operand<Tile::kQueries>(shared_.q[stage]));
    commit_products();
  }

  __device__ __forceinline__ void start_weight_grads() {
    multiply<Tile::kQueries, Tile::kQueries, Along::depth>(
        dp_, v_, operand<Tile::kQueries>(shared_.dout[at_.stage()]), false);
    multiply<Tile::kQueries, Tile::kValueWidth, Tile::kKeys, Tile::kQueries, Along::depth,
             Along::depth, Tile::kResident>(
        dp_, operand<Tile::kKeys>(shared_.v + group_ * Tile::kGroupKeys * kPieceColumns),
        operand<Tile::kQueries>(shared_.dout[at_.stage()]), true);
    commit_products();
  }

  __device__ __forceinline__ void start_query_grads() {
    constexpr int kPiece = Tile::kKeys * kPieceColumns;
    constexpr int kStripPieces = Tile::kSplitRows ? 0 : Tile::kQueryColumns / kPieceColumns;
    multiply<Tile::kQueryColumns, Tile::kKeys, Tile::kKeys, Tile::kKeys, Along::rows, Along::rows>(
        dq_, operand<Tile::kKeys>(scores() + (Tile::kSplitRows ? group_ * kPiece : 0)),
        operand<Tile::kKeys>(shared_.k + group_ * kStripPieces * kPiece));
    commit_products();
  }

  __device__ __forceinline__ __nv_bfloat16* scores() {
    return shared_.ds[at_.count % Tile::kScoreStages];
  }

  /// Scores become weights. A thread has queries 8 j + 2 (lane % 4) + {0, 1} of two keys.
  __device__ __forceinline__ void weigh(const BackwardStep& step, int first_key) {
    const int column = thread_ % 4 * 2;
    const auto& stats = shared_.stats[at_.stage()];
#pragma unroll
    for (int j = 0; j < Tile::kQueries / 8; ++j) {
      const float2 lse = *reinterpret_cast<const float2*>(stats.lse + 8 * j + column);
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float& x = s_[4 * j + 2 * half];
        float& y = s_[4 * j + 2 * half + 1];
        x = exp2_fast(fmaf(x, params_.scale_log2, -lse.x));
        y = exp2_fast(fmaf(y, params_.scale_log2, -lse.y));
      }
    }
    if (!step.masked) return;
    const int key = first_key + thread_ / kWarpLanes * 16 + thread_ % kWarpLanes / 4;
#pragma unroll
    for (int j = 0; j < Tile::kQueries / 8; ++j) {
      const int4 seen =
          *reinterpret_cast<const int4*>(shared_.row_spans[at_.stage()].row + 8 * j + column);
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int at = key + 8 * half;
        if (at < seen.x || at >= seen.y) s_[4 * j + 2 * half] = 0;
        if (at < seen.z || at >= seen.w) s_[4 * j + 2 * half + 1] = 0;
      }
    }
  }

  /// Weight gradients become score gradients, but for the factor `scale`.
  __device__ __forceinline__ void differentiate_scores() {
    const int column = thread_ % 4 * 2;
    const auto& stats = shared_.stats[at_.stage()];
#pragma unroll
    for (int j = 0; j < Tile::kQueries / 8; ++j) {
      const float2 delta = *reinterpret_cast<const float2*>(stats.delta + 8 * j + column);
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const std::uint32_t weights = a_[j / 2][j % 2 * 2 + half];
        float& x = dp_[4 * j + 2 * half];
        float& y = dp_[4 * j + 2 * half + 1];
        x = __uint_as_float(weights << 16) * (x - delta.x);
        y = __uint_as_float(weights & 0xffff0000u) * (y - delta.y);
      }
    }
  }

  /// Frees what the step was loaded into.
  __device__ __forceinline__ void free_loaded() {
    shared_.q_ready.release(at_);
    shared_.dout_ready.release(at_);
    shared_.step_ready.release({at_.count});
  }

  /// Hands dq over to those that add it up.
  __device__ __forceinline__ void hand_over() {
    shared_.dq_ready.wait_empty(at_);
    write_sums(shared_.dq[at_.stage()][group_], dq_);
    fence_shared_for_async();
    __syncwarp();
    if (thread_ % kWarpLanes == 0) shared_.dq_ready.full[at_.stage()].arrive();
  }

  /// Writes dk and dv: in bf16, or in fp32 as parts of what the group's heads add up to.
  __device__ __forceinline__ void write(const BackwardStep& step) {
    if (params_.heads_per_group == 1) return write_rounded(step);
    const int at = (step.head * params_.blocks + step.block) * Tile::kGroups + group_;
    write_sums(params_.dk_parts[at], dk_);
    write_sums(params_.dv_parts[at], dv_);
    shared_.keys_ready.release(at_keys_);
  }

  template <int kColumns>
  __device__ __forceinline__ void write_sums(SumTile<kColumns>& to,
                                             const float (&d)[kColumns / 2]) {
#pragma unroll
    for (int i = 0; i < kColumns / 8; ++i) {
      to.packet[i][thread_] = {d[4 * i], d[4 * i + 1], d[4 * i + 2], d[4 * i + 3]};
    }
  }

  /// Stages dk and dv over the keys and values and stores them.
  __device__ __forceinline__ void write_rounded(const BackwardStep& step) {
    const float factor[2] = {params_.scale, params_.scale};
    scale_rows(dk_, factor);
    // Until both warpgroups have read all keys.
    sync_threads(kConsumerSync, Tile::kConsumers);
    const int offset = group_ * Tile::kGroupKeys * kPieceColumns;
    stage_rows<Tile::kKeys>(shared_.k + offset, dk_);
    stage_rows<Tile::kKeys>(shared_.v + offset, dv_);
    fence_shared_for_async();
    sync_threads(kKeyGroupSync + group_, kWarpgroup);
    if (thread_ == 0) {
      const int row = step.block * Tile::kKeys + group_ * Tile::kGroupKeys;
      store<Tile::kKeyWidth>(params_.dk, shared_.k + offset, row, step.head);
      store<Tile::kValueWidth>(params_.dv, shared_.v + offset, row, step.head);
      commit_stores();
      wait_stores_read();
    }
    shared_.keys_ready.release(at_keys_);
  }

  template <int kWidth>
  __device__ __forceinline__ void store(const CUtensorMap& map, const __nv_bfloat16* from, int row,
                                        int head) {
#pragma unroll
    for (int piece = 0; piece < kWidth / kPieceColumns; ++piece) {
      store_box(map, from + piece * Tile::kKeys * kPieceColumns, piece * kPieceColumns, row, head);
    }
  }

  const BackwardParams<Tile>& params_;
  BackwardShared<Tile>& shared_;
  int group_, thread_;
  Ring<Tile::kStages> at_;
  Ring<1> at_keys_;
  float dk_[Tile::kKeyWidth / 2], dv_[Tile::kValueWidth / 2];
  float s_[Tile::kQueries / 2], dp_[Tile::kQueries / 2];
  float dq_[Tile::kQueryColumns / 2];
  std::uint32_t a_[Tile::kQueries / 16][4], b_[Tile::kQueries / 16][4];
  std::uint32_t v_[Tile::kResident][4];  // this warpgroup's values
};

template <class Tile>
__global__ void __launch_bounds__(Tile::kThreads, 1)
    attention_backward(const __grid_constant__ BackwardParams<Tile> params) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  static_assert(sizeof(BackwardShared<Tile>) <= kSharedLimit);
  extern __shared__ __align__(1024) unsigned char memory[];
  auto& shared = *reinterpret_cast<BackwardShared<Tile>*>(memory);
  if (threadIdx.x == 0) shared.init();
  __syncthreads();
  const int group = static_cast<int>(threadIdx.x) / kWarpgroup;
  if (group == 0) {
    release_registers<24>();
    if (threadIdx.x == 0) ItemLoader<Tile>(params, shared).run();
    if (threadIdx.x == kWarpLanes) load_grads(params, shared);
    if (threadIdx.x == 2 * kWarpLanes) add_query_grads(params, shared, 0);
    if (threadIdx.x == 3 * kWarpLanes) add_query_grads(params, shared, 1);
  } else {
    take_registers<240>();
    BackwardConsumer<Tile>(params, shared, group - 1).run();
  }
#endif
}

}  // namespace strait::kernels::cuda::sm90
