#pragma once

#include "kernels/cuda/sm90/backward_steps.cuh"
#include "kernels/cuda/sm90/staging.cuh"

// What all consumer warpgroups of the backward do alike: from scores to weights, from gradients of
// weights to gradients of scores, and the ways out of registers.
namespace strait::kernels::cuda::sm90 {

/// Hardware barriers in use beside __syncthreads.
enum BackwardBarrierId : int { kConsumerSync = 1, kKeyGroupSync = 2 };

template <class Tile>
class BackwardWarpgroup {
 protected:
  __device__ BackwardWarpgroup(const BackwardParams<Tile>& params, BackwardShared<Tile>& shared,
                               int group)
      : params_(params),
        shared_(shared),
        group_(group),
        thread_(static_cast<int>(threadIdx.x) % kWarpgroup) {}

  /// The step at hand, left in shared memory for want of registers.
  __device__ __forceinline__ const BackwardStep& step() const {
    return shared_.step[Ring<2 * Tile::kStages>{at_.count}.stage()];
  }
  __device__ __forceinline__ const BackwardStep& await_step() {
    shared_.step_ready.wait_full({at_.count});
    return step();
  }

  /// Weights of the scores, in bf16. A thread has queries 8 j + 2 (lane % 4) + {0, 1} of two keys.
  __device__ __forceinline__ void weigh(bool masked) {
    const auto& stats = shared_.stats[at_.stage()];
#pragma unroll
    for (int i = 0; i < Tile::kQueries / 16; ++i) {
      const float4 four = stats.of_thread(stats.lse, i, thread_);
      const float lse[4] = {four.x, four.y, four.z, four.w};
#pragma unroll
      for (int e = 0; e < 8; ++e) {
        float& x = s_[8 * i + e];
        x = exp2_fast(fmaf(x, params_.scale_log2, -lse[e / 4 * 2 + e % 2]));
      }
    }
    if (Tile::kAhead && masked) mask();
    pack(a_, s_);
    pin(a_);
    if (!Tile::kAhead && masked) mask();
    pin(a_);
  }

  /// Weights of keys that a query does not see become 0, in fp32 or, with few registers, in bf16.
  __device__ __forceinline__ void mask() {
    const int column = thread_ % 4 * 2;
    const int first_key = Tile::kSplitRoles ? 0 : group_ * Tile::kGroupKeys;
    const int key = step().block * Tile::kKeys + first_key + thread_ / kWarpLanes * 16 +
                    thread_ % kWarpLanes / 4;
#pragma unroll
    for (int j = 0; j < Tile::kQueries / 8; ++j) {
      const int4 seen =
          *reinterpret_cast<const int4*>(shared_.row_spans[at_.stage()].row + 8 * j + column);
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int at = key + 8 * half;
        const bool x_unseen = at < seen.x || at >= seen.y;
        const bool y_unseen = at < seen.z || at >= seen.w;
        if constexpr (Tile::kAhead) {
          if (x_unseen) s_[4 * j + 2 * half] = 0;
          if (y_unseen) s_[4 * j + 2 * half + 1] = 0;
        } else {
          std::uint32_t& weights = a_[j / 2][j % 2 * 2 + half];
          if (x_unseen) weights &= 0xffff0000u;
          if (y_unseen) weights &= 0xffffu;
        }
      }
    }
  }

  /// Weight gradients become score gradients, but for the factor `scale`, in bf16. Multiplied as
  /// pairs of bf16, they are rounded before they meet the weights, too.
  __device__ __forceinline__ void differentiate_scores() {
    const auto& stats = shared_.stats[Ring<Tile::kOutStages>{at_.count}.stage()];
#pragma unroll
    for (int i = 0; i < Tile::kQueries / 16; ++i) {
      const float4 four = stats.of_thread(stats.delta, i, thread_);
      const float delta[4] = {four.x, four.y, four.z, four.w};
#pragma unroll
      for (int pair = 0; pair < 4; ++pair) {
        const std::uint32_t weights = a_[i][pair];
        const float x = dp_[8 * i + 2 * pair] - delta[pair / 2 * 2];
        const float y = dp_[8 * i + 2 * pair + 1] - delta[pair / 2 * 2 + 1];
        if constexpr (Tile::kPairedGrads) {
          b_[i][pair] = multiply_bf16(pack_bf16(x, y), weights);
        } else {
          b_[i][pair] = pack_bf16(__uint_as_float(weights << 16) * x,
                                  __uint_as_float(weights & 0xffff0000u) * y);
        }
      }
    }
  }

  /// Waits for the `count`-th place for sums of dq.
  __device__ __forceinline__ typename Tile::QuerySums& await_sums(unsigned count) {
    const Ring<Tile::kSumStages> at{count};
    shared_.dq_ready.wait_empty(at);
    return shared_.dq[at.stage()][group_];
  }
  /// Hands it over to those that add it up.
  __device__ __forceinline__ void hand_over(unsigned count) {
    fence_shared_for_async();
    shared_.dq_ready.fill({count});
  }

  /// To the packets from `first` on.
  template <int kColumns, int kCount>
  __device__ __forceinline__ void write_sums(SumTile<kColumns>& to, const float (&d)[kCount],
                                             int first = 0) {
#pragma unroll
    for (int i = 0; i < kCount / 4; ++i) {
      to.packet[first + i][thread_] = {d[4 * i], d[4 * i + 1], d[4 * i + 2], d[4 * i + 3]};
    }
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
  float s_[Tile::kQueries / 2], dp_[Tile::kQueries / 2];
  std::uint32_t a_[Tile::kQueries / 16][4], b_[Tile::kQueries / 16][4];
};

}  // namespace strait::kernels::cuda::sm90
