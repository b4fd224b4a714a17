#pragma once

#include "kernels/cuda/sm90/backward_roles.cuh"

// Attention backward on Hopper: dq, dk and dv from five products a step (arXiv 2307.08691,
// algorithm 2). A persistent block takes a block of keys of one query head at a time and walks over
// the tiles of queries that see it. Scores are kept transposed, [key][query]: as sums in registers
// they are already the first operand of the products for dk and dv. Each of two warpgroups owns 64
// keys; for dq, which sums over all keys, score gradients go through shared memory and each
// warpgroup takes half of the columns or rows. dq is added up in fp32 in global memory by TMA, in
// the order that backward_plan.cuh sets; dk and dv of heads that share keys, and of items cut
// into parts, are added up afterwards.
namespace strait::kernels::cuda::sm90 {

/// A consumer warpgroup: 64 keys of each block.
template <class Tile>
class BackwardConsumer : BackwardWarpgroup<Tile> {
 public:
  using Base = BackwardWarpgroup<Tile>;

  __device__ BackwardConsumer(const BackwardParams<Tile>& params, BackwardShared<Tile>& shared,
                              int group)
      : Base(params, shared, group) {}

  __device__ __forceinline__ void run() {
    for (;;) {
      if (await_step().head < 0) return;
#pragma unroll
      for (float& x : dk_) x = 0;
#pragma unroll
      for (float& x : dv_) x = 0;
      shared_.keys_ready.wait_full(at_keys_);
      if constexpr (Tile::kResident > 0) {
        load_packed<Tile::kKeys>(v_, shared_.v + key_offset());
      }
      if constexpr (Tile::kAhead) {
        differentiate_ahead();
      } else {
        differentiate_in_turn();
      }
      write(step());
      shared_.step_ready.release({at_.count});
      at_keys_.advance();
      at_.advance();
    }
  }

 private:
  using Base::a_, Base::at_, Base::at_keys_, Base::b_, Base::dp_, Base::group_, Base::params_;
  using Base::await_step, Base::await_sums, Base::differentiate_scores, Base::step, Base::store;
  using Base::s_, Base::shared_, Base::thread_;
  using Base::weigh, Base::write_sums;

  /// All steps of an item; the last one's is not freed. The next scores, and the gradients of the
  /// weights, are under way while this step's are worked on.
  __device__ __forceinline__ void differentiate_ahead() {
    at_.make_uniform();
    start_scores(at_);
    for (;;) {
      const bool masked = await_step().masked, last = step().last;
      // Weights, while their gradients are under way.
      shared_.dout_ready.wait_full(at_);
      wait_products<0>();
      pin(s_);
      start_weight_grads();
      weigh(masked);
      start_value_grads();
      // Score gradients, for both warpgroups.
      wait_products<1>();
      pin(dp_);
      differentiate_scores();
      // dK += dS^T Q, then dQ = dS K.
      pin(b_);
      begin_products();
      multiply<Tile::kKeyWidth, Tile::kQueries, Along::rows>(
          dk_, b_, operand<Tile::kQueries>(shared_.q[at_.stage()]));
      commit_products();
      share_scores(b_);
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
      next.make_uniform();
      start_scores(next, !last);
      wait_products<1>();
      hand_over();
      if (last) break;
      shared_.step_ready.release({at_.count});
      at_ = next;
    }
    wait_products<0>();
    pin(s_);
  }

  /// As differentiate_ahead, with one set of scores in registers at a time; their gradients go to
  /// the products through shared memory alone.
  __device__ __forceinline__ void differentiate_in_turn() {
    for (;;) {
      await_step();
      start_scores(at_);
      shared_.dout_ready.wait_full(at_);
      wait_products<0>();
      pin(s_);
      weigh(step().masked);
      start_weight_grads();
      start_value_grads();
      wait_products<1>();
      pin(dp_);
      differentiate_scores();
      share_scores(b_);
      wait_products<0>();
      pin(dv_);
      pin(a_);
      // dK += dS^T Q and dQ = dS K.
      begin_products();
      multiply<Tile::kKeyWidth, Tile::kQueries, Tile::kKeys, Tile::kQueries, Along::depth,
               Along::rows>(dk_, operand<Tile::kKeys>(scores() + key_offset()),
                            operand<Tile::kQueries>(shared_.q[at_.stage()]), true);
      commit_products();
      start_query_grads();
      wait_products<1>();
      pin(dk_);
      free_loaded();
      wait_products<0>();
      hand_over();
      if (step().last) break;
      shared_.step_ready.release({at_.count});
      at_.advance();
    }
  }

  /// Past the last step of an item, without `loaded`, of what is still there.
  __device__ __forceinline__ void start_scores(const Ring<Tile::kStages>& at, bool loaded = true) {
    if (loaded) shared_.q_ready.wait_full(at);
    begin_products();
    multiply<Tile::kQueries, Tile::kKeyWidth, Tile::kKeys, Tile::kQueries>(
        s_, operand<Tile::kKeys>(shared_.k + key_offset()),
        operand<Tile::kQueries>(shared_.q[at.stage()]));
    commit_products();
  }

  __device__ __forceinline__ void start_weight_grads() {
    begin_products();
    if constexpr (Tile::kResident > 0) {
      multiply<Tile::kQueries, Tile::kQueries, Along::depth>(
          dp_, v_, operand<Tile::kQueries>(shared_.dout[at_.stage()]), false);
    }
    multiply<Tile::kQueries, Tile::kValueWidth, Tile::kKeys, Tile::kQueries, Along::depth,
             Along::depth, Tile::kResident>(dp_, operand<Tile::kKeys>(shared_.v + key_offset()),
                                            operand<Tile::kQueries>(shared_.dout[at_.stage()]),
                                            Tile::kResident > 0);
    commit_products();
  }

  /// dV += P^T dO.
  __device__ __forceinline__ void start_value_grads() {
    begin_products();
    multiply<Tile::kValueWidth, Tile::kQueries, Along::rows>(
        dv_, a_, operand<Tile::kQueries>(shared_.dout[at_.stage()]));
    commit_products();
  }

  /// Puts this warpgroup's score gradients beside the other one's.
  __device__ __forceinline__ void share_scores(const std::uint32_t (&ds)[Tile::kQueries / 16][4]) {
    if constexpr (Tile::kScoreStages == 1) sync_threads(kConsumerSync, Tile::kConsumers);
    stage_packed<Tile::kKeys>(scores() + key_offset(), ds);
    fence_shared_for_async();
    sync_threads(kConsumerSync, Tile::kConsumers);
  }

  __device__ __forceinline__ void start_query_grads() {
    begin_products();
    constexpr int kPiece = Tile::kKeys * kPieceColumns;
    constexpr int kShift = (Tile::kKeyWidth - Tile::kMainColumns) / kPieceColumns * kPiece;
    const std::uint64_t ds =
        operand<Tile::kKeys>(scores() + (Tile::kSplitRows ? group_ * kPiece : 0));
    multiply<Tile::kMainColumns, Tile::kKeys, Tile::kKeys, Tile::kKeys, Along::rows, Along::rows>(
        dq_, ds, operand<Tile::kKeys>(shared_.k + group_ * kShift));
    if constexpr (Tile::kRestColumns > 0) {
      const auto* middle = shared_.k + Tile::kMainColumns / kPieceColumns * kPiece;
      multiply<Tile::kRestColumns, Tile::kKeys, Tile::kKeys, Tile::kKeys, Along::rows, Along::rows>(
          rest_, ds, operand<Tile::kKeys>(middle + group_ * Tile::kRestColumns));
    }
    commit_products();
  }

  /// Of this warpgroup's keys in a piece.
  __device__ __forceinline__ int key_offset() const {
    return group_ * Tile::kGroupKeys * kPieceColumns;
  }

  __device__ __forceinline__ __nv_bfloat16* scores() {
    return shared_.ds[at_.count % Tile::kScoreStages];
  }

  /// Frees what the step was loaded into.
  __device__ __forceinline__ void free_loaded() {
    shared_.q_ready.release(at_);
    shared_.dout_ready.release(at_);
  }

  /// Hands dq over to those that add it up.
  __device__ __forceinline__ void hand_over() {
    pin(dq_);
    if constexpr (Tile::kRestColumns > 0) pin(rest_);
    auto& to = await_sums(at_.count);
    // The first warpgroup's strip ends, the second one's begins with what the pieces leave over.
    write_sums(to, dq_, group_ * Tile::kRestColumns / 8);
    if constexpr (Tile::kRestColumns > 0) {
      write_sums(to, rest_, (1 - group_) * Tile::kMainColumns / 8);
    }
    Base::hand_over(at_.count);
  }

  /// Writes dk and dv: in bf16, or in fp32 as parts of what heads and parts of items add up to.
  __device__ __forceinline__ void write(const BackwardStep& step) {
    if (step.whole) return write_rounded(step);
    const int block = (step.head * params_.parts + step.part) * params_.blocks + step.block;
    const int at = block * Tile::kKeyTiles + group_;
    write_sums(params_.dk_parts[at], dk_);
    write_sums(params_.dv_parts[at], dv_);
    shared_.keys_ready.release(at_keys_);
  }

  /// Stages dk and dv over the keys and values and stores them.
  __device__ __forceinline__ void write_rounded(const BackwardStep& step) {
    const float factor[2] = {params_.scale, params_.scale};
    scale_rows(dk_, factor);
    // Until both warpgroups have read all keys.
    sync_threads(kConsumerSync, Tile::kConsumers);
    const int offset = key_offset();
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

  float dk_[Tile::kKeyWidth / 2], dv_[Tile::kValueWidth / 2];
  float dq_[Tile::kMainColumns / 2], rest_[Tile::kRestColumns > 0 ? Tile::kRestColumns / 2 : 1];
  std::uint32_t v_[Tile::kResident > 0 ? Tile::kResident : 1][4];  // this warpgroup's values
};

template <class Tile>
__global__ void __launch_bounds__(Tile::kThreads, 1)
    attention_backward(const __grid_constant__ BackwardParams<Tile> params) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  static_assert(sizeof(BackwardShared<Tile>) <= kSharedLimit);
  extern __shared__ __align__(1024) unsigned char memory[];
  auto& shared = *reinterpret_cast<BackwardShared<Tile>*>(memory);
  if (threadIdx.x == 0) {
    for (const CUtensorMap* map : {&params.q, &params.dout, &params.k, &params.v}) {
      prefetch_map(*map);
    }
    shared.init();
  }
  __syncthreads();
  const int group = static_cast<int>(of_warp(threadIdx.x)) / kWarpgroup;
  if (group == 0) {
    release_registers<24>();
    if (threadIdx.x == 0) ItemLoader<Tile>(params, shared).run();
    if (threadIdx.x == kWarpLanes) load_grads(params, shared);
    if (threadIdx.x == 2 * kWarpLanes) add_query_grads(params, shared, 0);
    if (threadIdx.x == 3 * kWarpLanes && Tile::kSumStages > 1) add_query_grads(params, shared, 1);
  } else {
    take_registers<240>();
    using Consumer =
        std::conditional_t<Tile::kSplitRoles, BackwardRole<Tile>, BackwardConsumer<Tile>>;
    Consumer(params, shared, group - 1).run();
  }
#endif
}

}  // namespace strait::kernels::cuda::sm90
