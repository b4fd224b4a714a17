#pragma once

#include <type_traits>

#include "kernels/cuda/sm90/backward_warpgroup.cuh"

// The backward of wide heads. 64 keys at a time, whose dk and dv fill the registers of a warpgroup
// each: the first one works out weights and dV, hands the weights to the second one, and that works
// out score gradients and dK. Both take half of the columns of each slice of dq.
namespace strait::kernels::cuda::sm90 {

template <class Tile>
class BackwardRole : BackwardWarpgroup<Tile> {
 public:
  using Base = BackwardWarpgroup<Tile>;

  __device__ BackwardRole(const BackwardParams<Tile>& params, BackwardShared<Tile>& shared,
                          int group)
      : Base(params, shared, group) {}

  __device__ __forceinline__ void run() {
    for (;;) {
      if (await_step().head < 0) return;
#pragma unroll
      for (float& x : sum_) x = 0;
      shared_.keys_ready.wait_full(at_keys_);
      if (group_ == 0) {
        sum_value_grads();
        write(params_.dv, params_.dv_parts, shared_.v, 1.0f);
      } else {
        sum_key_grads();
        write(params_.dk, params_.dk_parts, shared_.k, params_.scale);
      }
      shared_.step_ready.release({at_.count});
      at_keys_.advance();
      at_.advance();
    }
  }

 private:
  using Base::a_, Base::at_, Base::at_keys_, Base::b_, Base::dp_, Base::group_, Base::params_;
  using Base::await_step, Base::await_sums, Base::differentiate_scores, Base::step, Base::store;
  using Base::hand_over, Base::weigh, Base::write_sums;
  using Base::s_, Base::shared_, Base::thread_;
  using OutRing = Ring<Tile::kOutStages>;
  using ScoreRing = Ring<Tile::kScoreStages>;
  static constexpr int kPiece = Tile::kKeys * kPieceColumns;

  /// All steps of an item, in the first warpgroup: P, and dV += P^T dO.
  __device__ __forceinline__ void sum_value_grads() {
    start_scores(at_);
    for (;;) {
      at_.make_uniform();
      await_step();
      wait_products<0>();
      pin(s_);
      weigh(step().masked);
      send_weights();
      shared_.dout_ready.wait_full(OutRing{at_.count});
      begin_products();
      multiply<Tile::kValueWidth, Tile::kQueries, Along::rows>(sum_, a_, grads());
      commit_products();
      Ring<Tile::kStages> next = at_;
      next.advance();
      start_scores(next, !step().last);
      add_query_grads();
      if (step().last) break;
      shared_.step_ready.release({at_.count});
      at_.advance();
    }
  }

  /// All steps of an item, in the second warpgroup: dS, and dK += dS^T Q.
  __device__ __forceinline__ void sum_key_grads() {
    for (;;) {
      at_.make_uniform();
      await_step();
      shared_.dout_ready.wait_full(OutRing{at_.count});
      begin_products();
      multiply<Tile::kQueries, Tile::kValueWidth, Tile::kKeys, Tile::kQueries>(
          dp_, operand<Tile::kKeys>(shared_.v), grads());
      commit_products();
      receive_weights();
      wait_products<0>();
      pin(dp_);
      differentiate_scores();
      pin(b_);
      send_score_grads();
      shared_.q_ready.wait_full(at_);
      begin_products();
      multiply<Tile::kKeyWidth, Tile::kQueries, Along::rows>(
          sum_, b_, operand<Tile::kQueries>(shared_.q[at_.stage()]));
      commit_products();
      add_query_grads();
      if (step().last) break;
      shared_.step_ready.release({at_.count});
      at_.advance();
    }
  }

  /// Gradients of o of the step at hand, as a second operand.
  __device__ __forceinline__ std::uint64_t grads() const {
    return operand<Tile::kQueries>(shared_.dout[OutRing{at_.count}.stage()]);
  }

  /// Past the last step of an item, without `loaded`, none.
  __device__ __forceinline__ void start_scores(const Ring<Tile::kStages>& at, bool loaded = true) {
    if (loaded) shared_.q_ready.wait_full(at);
    begin_products();
    multiply<Tile::kQueries, Tile::kKeyWidth, Tile::kKeys, Tile::kQueries>(
        s_, operand<Tile::kKeys>(shared_.k), operand<Tile::kQueries>(shared_.q[at.stage()]));
    commit_products();
  }

  __device__ __forceinline__ void send_weights() {
    const ScoreRing at{at_.count};
    shared_.weights_ready.wait_empty(at);
#pragma unroll
    for (int i = 0; i < Tile::kQueries / 16; ++i) {
      shared_.weights.step[at.stage()][i][thread_] = {a_[i][0], a_[i][1], a_[i][2], a_[i][3]};
    }
    shared_.weights_ready.fill(at);
  }

  __device__ __forceinline__ void receive_weights() {
    const ScoreRing at{at_.count};
    shared_.weights_ready.wait_full(at);
#pragma unroll
    for (int i = 0; i < Tile::kQueries / 16; ++i) {
      const uint4 x = shared_.weights.step[at.stage()][i][thread_];
      a_[i][0] = x.x, a_[i][1] = x.y, a_[i][2] = x.z, a_[i][3] = x.w;
    }
    shared_.weights_ready.release(at);
  }

  /// To both warpgroups' products.
  __device__ __forceinline__ void send_score_grads() {
    const ScoreRing at{at_.count};
    shared_.ds_ready.wait_empty(at);
    stage_packed<Tile::kKeys>(shared_.ds[at.stage()], b_);
    fence_shared_for_async();
    shared_.ds_ready.fill(at);
  }

  /// dQ = dS K in slices; waits for all products under way. Frees what the step was loaded into.
  __device__ __forceinline__ void add_query_grads() {
    const ScoreRing at{at_.count};
    shared_.ds_ready.wait_full(at);
#pragma unroll
    for (int slice = 0; slice < Tile::kSlices; ++slice) {
      begin_products();
      multiply<Tile::kQueryColumns, Tile::kKeys, Tile::kKeys, Tile::kKeys, Along::rows,
               Along::rows>(
          dq_, operand<Tile::kKeys>(shared_.ds[at.stage()]),
          operand<Tile::kKeys>(shared_.k + (slice * Tile::kGroups + group_) * kPiece));
      commit_products();
      wait_products<0>();
      pin(dq_);
      if (slice == 0) {
        pin(sum_);
        pin(s_);
        pin(a_);
        pin(b_);
        shared_.q_ready.release(at_);
        shared_.dout_ready.release(OutRing{at_.count});
      }
      if (slice + 1 == Tile::kSlices) shared_.ds_ready.release(at);
      const unsigned count = at_.count * Tile::kSlices + slice;
      write_sums(await_sums(count), dq_);
      hand_over(count);
    }
  }

  /// Writes this role's gradients: in bf16, staged over what nothing reads any more, or in fp32 as
  /// parts of what heads and parts of items add up to.
  template <int kWidth>
  __device__ __forceinline__ void write(const CUtensorMap& map, SumTile<kWidth>* parts,
                                        __nv_bfloat16* staged, float scale) {
    const int head = step().head, block = step().block;
    if (!step().whole) {
      const int part = head * params_.parts + step().part;
      write_sums(parts[part * params_.blocks + block], sum_);
    } else {
      const float factor[2] = {scale, scale};
      scale_rows(sum_, factor);
      // Until both warpgroups have read all keys and values.
      sync_threads(kConsumerSync, Tile::kConsumers);
      stage_rows<Tile::kKeys>(staged, sum_);
      fence_shared_for_async();
      sync_threads(kKeyGroupSync + group_, kWarpgroup);
      if (thread_ == 0) {
        Base::template store<kWidth>(map, staged, block * Tile::kKeys, head);
        commit_stores();
        wait_stores_read();
      }
    }
    shared_.keys_ready.release(at_keys_);
  }

  float sum_[Tile::kKeyWidth / 2];  // dv or dk
  float dq_[Tile::kQueryColumns / 2];
};

}  // namespace strait::kernels::cuda::sm90
