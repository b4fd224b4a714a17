#pragma once

#include "kernels/cuda/attention_bwd.cuh"

// Gradient of the queries: one tile of queries of one head per thread block, over its keys.
namespace strait::kernels::cuda::attention {

/// As ForwardShape; two stages of keys and values beside Q and dO.
template <int kKeyWidth_, int kValueWidth_, int kRowTiles_, int kKeys_>
struct QueryGradShape {
  static constexpr int kKeyWidth = kKeyWidth_, kValueWidth = kValueWidth_;
  static constexpr int kRowTiles = kRowTiles_, kKeys = kKeys_;
  static constexpr int kRows = 64 * kRowTiles;
  static constexpr int kStage = kKeys * (kKeyWidth + kValueWidth);  // elements
  static constexpr int kSharedBytes = 2 * (kRows * (kKeyWidth + kValueWidth) + 2 * kStage);
};

/// Statistics of one query row: weights are exp2(scale log2e s - lse), score gradients
/// p (dp - delta).
struct RowStats {
  float lse;  // in units of log2
  float delta;
};

__device__ __forceinline__ RowStats row_stats(const BackwardArgs<bf16>& args, int head, int row) {
  if (row >= args.intervals.tokens) return {0, 0};
  const std::int64_t at = static_cast<std::int64_t>(head) * args.intervals.tokens + row;
  return {args.lse[at] * kLog2E, args.delta[at]};
}

/// Scores `s` and weight gradients `dp` become score gradients in `s`.
template <class Shape>
__device__ __forceinline__ void differentiate_rows(
    float (&s)[Shape::kRowTiles][Shape::kKeys / 8][4],
    const float (&dp)[Shape::kRowTiles][Shape::kKeys / 8][4], float scale,
    const RowStats (&stats)[Shape::kRowTiles][2], bool masked, int key, const int2* intervals) {
  const int lane = lane_id();
#pragma unroll
  for (int m = 0; m < Shape::kRowTiles; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int2 keys = masked ? intervals[16 * m + 8 * half + lane / 4] : int2{0, INT_MAX};
      const RowStats row = stats[m][half];
#pragma unroll
      for (int n = 0; n < Shape::kKeys / 8; ++n) {
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          const int at = key + 8 * n + 2 * (lane % 4) + e, i = 2 * half + e;
          const float p = exp2_fast(fmaf(s[m][n][i], scale, -row.lse));
          const float ds = p * (dp[m][n][i] - row.delta);
          s[m][n][i] = masked && (at < keys.x || at >= keys.y) ? 0.0f : ds;
        }
      }
    }
  }
}

template <class Shape>
__global__ void __launch_bounds__(kThreads, 2) query_grad_kernel(const BackwardArgs<bf16> args) {
  extern __shared__ __align__(128) unsigned char memory[];
  __shared__ int2 intervals[Shape::kRows];
  const Tile<Shape::kKeyWidth> q{reinterpret_cast<bf16*>(memory)};
  const Tile<Shape::kValueWidth> dout{q.data + Shape::kRows * Shape::kKeyWidth};
  bf16* const stages = dout.data + Shape::kRows * Shape::kValueWidth;
  const int tiles = static_cast<int>(gridDim.x) / args.heads;
  const int head = static_cast<int>(blockIdx.x) % args.heads, group = head / args.heads_per_group;
  const int first = (tiles - 1 - static_cast<int>(blockIdx.x) / args.heads) * Shape::kRows;
  const int warp_row = warp_id() * 16 * Shape::kRowTiles;
  const auto keys_of = [&](int stage) {
    return Tile<Shape::kKeyWidth>{stages + stage * Shape::kStage};
  };
  const auto values_of = [&](int stage) {
    return Tile<Shape::kValueWidth>{stages + stage * Shape::kStage +
                                    Shape::kKeys * Shape::kKeyWidth};
  };
  const auto fetch = [&](int stage, int key) {
    load_tile<Shape::kKeys, kThreads>(keys_of(stage), source(args.k, key, group));
    load_tile<Shape::kKeys, kThreads>(values_of(stage), source(args.v, key, group));
  };

  // Load Q, dO, the first keys and the rows' statistics.
  load_tile<Shape::kRows, kThreads>(q, source(args.q, first, head));
  load_tile<Shape::kRows, kThreads>(dout, source(args.dout, first, head));
  const KeySpan span = read_intervals(args.intervals, first, intervals);
  if (!span.empty()) fetch(0, span.begin);
  cp_async_commit();
  RowStats stats[Shape::kRowTiles][2];
#pragma unroll
  for (int m = 0; m < Shape::kRowTiles; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = first + warp_row + 16 * m + 8 * half + lane_id() / 4;
      stats[m][half] = row_stats(args, head, row);
    }
  }

  float dq[Shape::kRowTiles][Shape::kKeyWidth / 8][4] = {};
  int stage = 0;
  for (int key = span.begin; key < span.end; key += Shape::kKeys, stage ^= 1) {
    // Fetch the next keys, wait for these.
    if (key + Shape::kKeys < span.end) fetch(stage ^ 1, key + Shape::kKeys);
    cp_async_commit();
    cp_async_wait<1>();
    __syncthreads();
    // Scores and weight gradients, then score gradients.
    float s[Shape::kRowTiles][Shape::kKeys / 8][4], dp[Shape::kRowTiles][Shape::kKeys / 8][4];
    multiply<Shape::kRowTiles, Shape::kKeys>(s, q, warp_row, keys_of(stage));
    multiply<Shape::kRowTiles, Shape::kKeys>(dp, dout, warp_row, values_of(stage));
    const bool masked = !span.covers(key, key + Shape::kKeys);
    differentiate_rows<Shape>(s, dp, args.scale * kLog2E, stats, masked, key, intervals + warp_row);
    accumulate<Shape::kRowTiles, Shape::kKeys, Shape::kKeyWidth>(dq, s, keys_of(stage));
    __syncthreads();
  }
  cp_async_wait<0>();
  __syncthreads();

  // Stage in the warp's own rows of Q and store.
  float factor[Shape::kRowTiles][2];
#pragma unroll
  for (int m = 0; m < Shape::kRowTiles; ++m) factor[m][0] = factor[m][1] = args.scale;
  stage_rows<Shape::kRowTiles, Shape::kKeyWidth>(q, warp_row, 0, dq, factor);
  __syncwarp();
  store_rows<16 * Shape::kRowTiles, kWarp>(args.dq, first + warp_row, head, q, warp_row, lane_id());
}

}  // namespace strait::kernels::cuda::attention
