#pragma once

#include "kernels/cuda/attention_bwd.cuh"

// Gradients of keys and values: one tile of keys of one group per thread block, over the tiles of
// queries that may see it and, inside a tile, over the group's heads. That order is fixed, so sums
// repeat bit for bit without atomics. Scores are kept transposed, [key][query]: as accumulators
// they are already the left operand of both final products.
namespace strait::kernels::cuda::attention {

/// kKeyWarps_ warps own 16 keys each; with fewer than four, warps of equal keys share the columns
/// of the gradients between them, since wide heads need more accumulators than a thread has.
template <int kKeyWidth_, int kValueWidth_, int kKeyWarps_, int kQueries_>
struct KeyGradShape {
  static constexpr int kKeyWidth = kKeyWidth_, kValueWidth = kValueWidth_;
  static constexpr int kKeyWarps = kKeyWarps_, kQueries = kQueries_;
  static constexpr int kKeys = 16 * kKeyWarps;
  static constexpr int kParts = 4 / kKeyWarps;  // of the gradients' columns
  static constexpr int kKeyColumns = kKeyWidth / kParts, kValueColumns = kValueWidth / kParts;
  static constexpr int kStage = kQueries * (kKeyWidth + kValueWidth);  // elements
  static constexpr int kSharedBytes = 2 * (kKeys * (kKeyWidth + kValueWidth) + 2 * kStage);
};

/// What the scores of one tile of queries need beside Q and dO. Rows beyond the tokens are zero,
/// hence without keys.
template <int kQueries>
struct QueryRows {
  float lse[kQueries];
  float delta[kQueries];
  int k_begin[kQueries];
  int k_end[kQueries];

  /// Asynchronous: the caller commits and waits.
  __device__ void fetch(const BackwardArgs<bf16>& args, int head, int first) {
    const std::int64_t row_of_head = static_cast<std::int64_t>(head) * args.intervals.tokens;
    for (int i = static_cast<int>(threadIdx.x); i < 4 * kQueries; i += kThreads) {
      const int row = i % kQueries, kind = i / kQueries;
      const bool valid = first + row < args.intervals.tokens;
      const std::int64_t at = valid ? first + row : 0;
      if (kind == 0) cp_async_4(lse + row, args.lse + row_of_head + at, valid);
      if (kind == 1) cp_async_4(delta + row, args.delta + row_of_head + at, valid);
      if (kind == 2) cp_async_4(k_begin + row, args.intervals.k_begin + at, valid);
      if (kind == 3) cp_async_4(k_end + row, args.intervals.k_end + at, valid);
    }
  }
};

/// Scores `s` become weights and weight gradients `dp` score gradients, both [key][query].
template <int kQueries>
__device__ __forceinline__ void differentiate_columns(float (&s)[1][kQueries / 8][4],
                                                      float (&dp)[1][kQueries / 8][4], float scale,
                                                      const QueryRows<kQueries>& rows, bool masked,
                                                      int key) {
  const int lane = lane_id();
#pragma unroll
  for (int n = 0; n < kQueries / 8; ++n) {
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      const int query = 8 * n + 2 * (lane % 4) + e;
      const float lse = rows.lse[query] * kLog2E, delta = rows.delta[query];
      const int begin = masked ? rows.k_begin[query] : 0;
      const int end = masked ? rows.k_end[query] : INT_MAX;
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int at = key + lane / 4 + 8 * half, i = 2 * half + e;
        const bool seen = !masked || (at >= begin && at < end);
        const float p = seen ? exp2_fast(fmaf(s[0][n][i], scale, -lse)) : 0.0f;
        s[0][n][i] = p;
        dp[0][n][i] = seen ? p * (dp[0][n][i] - delta) : 0.0f;
      }
    }
  }
}

template <class Shape>
__global__ void __launch_bounds__(kThreads, 2)
    key_grad_kernel(const BackwardArgs<bf16> args, int query_tiles) {
  extern __shared__ __align__(128) unsigned char memory[];
  __shared__ QueryRows<Shape::kQueries> rows[2];
  const Tile<Shape::kKeyWidth> k{reinterpret_cast<bf16*>(memory)};
  const Tile<Shape::kValueWidth> v{k.data + Shape::kKeys * Shape::kKeyWidth};
  bf16* const stages = v.data + Shape::kKeys * Shape::kValueWidth;
  const int groups = args.heads / args.heads_per_group;
  const int group = static_cast<int>(blockIdx.x) % groups;
  const int first = static_cast<int>(blockIdx.x) / groups * Shape::kKeys;
  const int key_row = warp_id() % Shape::kKeyWarps * 16, part = warp_id() / Shape::kKeyWarps;
  const auto queries_of = [&](int stage) {
    return Tile<Shape::kKeyWidth>{stages + stage * Shape::kStage};
  };
  const auto dout_of = [&](int stage) {
    return Tile<Shape::kValueWidth>{stages + stage * Shape::kStage +
                                    Shape::kQueries * Shape::kKeyWidth};
  };
  const auto fetch = [&](int stage, int tile, int member) {
    const int query = tile * Shape::kQueries, head = group * args.heads_per_group + member;
    load_tile<Shape::kQueries, kThreads>(queries_of(stage), source(args.q, query, head));
    load_tile<Shape::kQueries, kThreads>(dout_of(stage), source(args.dout, query, head));
    rows[stage].fetch(args, head, query);
  };
  const auto find = [&](int from) {
    return next_tile(args.spans, from, query_tiles, first, first + Shape::kKeys);
  };

  // Load the keys and values and the first queries.
  load_tile<Shape::kKeys, kThreads>(k, source(args.k, first, group));
  load_tile<Shape::kKeys, kThreads>(v, source(args.v, first, group));
  int tile = find(0), member = 0, stage = 0;
  if (tile < query_tiles) fetch(0, tile, 0);
  cp_async_commit();

  float dk[1][Shape::kKeyColumns / 8][4] = {}, dv[1][Shape::kValueColumns / 8][4] = {};
  while (tile < query_tiles) {
    // Fetch the next head or tile of queries, wait for this one.
    const bool last_member = member + 1 == args.heads_per_group;
    const int next = last_member ? find(tile + 1) : tile,
              next_member = last_member ? 0 : member + 1;
    if (next < query_tiles) fetch(stage ^ 1, next, next_member);
    cp_async_commit();
    cp_async_wait<1>();
    __syncthreads();
    // Weights and score gradients.
    float s[1][Shape::kQueries / 8][4], dp[1][Shape::kQueries / 8][4];
    multiply<1, Shape::kQueries>(s, k, key_row, queries_of(stage));
    multiply<1, Shape::kQueries>(dp, v, key_row, dout_of(stage));
    const bool masked = !args.spans[tile].covers(first, first + Shape::kKeys);
    differentiate_columns<Shape::kQueries>(s, dp, args.scale * kLog2E, rows[stage], masked,
                                           first + key_row);
    // dV += P^T dO, dK += dS^T Q.
    accumulate<1, Shape::kQueries, Shape::kValueColumns>(dv, s, dout_of(stage),
                                                         part * (Shape::kValueColumns / 8));
    accumulate<1, Shape::kQueries, Shape::kKeyColumns>(dk, dp, queries_of(stage),
                                                       part * (Shape::kKeyColumns / 8));
    __syncthreads();
    tile = next;
    member = next_member;
    stage ^= 1;
  }
  cp_async_wait<0>();
  __syncthreads();

  // Stage over K and V and store.
  stage_rows<1, Shape::kKeyColumns>(k, key_row, part * (Shape::kKeyColumns / 8), dk,
                                    {{args.scale, args.scale}});
  stage_rows<1, Shape::kValueColumns>(v, key_row, part * (Shape::kValueColumns / 8), dv,
                                      {{1.0f, 1.0f}});
  __syncthreads();
  store_rows<Shape::kKeys, kThreads>(args.dk, first, group, k, 0, static_cast<int>(threadIdx.x));
  store_rows<Shape::kKeys, kThreads>(args.dv, first, group, v, 0, static_cast<int>(threadIdx.x));
}

}  // namespace strait::kernels::cuda::attention
