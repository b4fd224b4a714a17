#pragma once

#include <cmath>

#include "kernels/cuda/attention_tile.cuh"

// Tensor-core attention forward (arXiv 2205.14135, 2307.08691): one tile of queries of one head
// per thread block; each warp owns its rows, so the softmax needs no exchange between warps.
namespace strait::kernels::cuda::attention {

/// T is bf16, or float on the path without tensor cores.
template <class T>
struct ForwardArgs {
  Heads<const T> q, k, v;
  Heads<T> o;
  float* lse;  // [heads, tokens]
  Intervals intervals;
  int heads, heads_per_group;
  float scale;
  float2 unit;  // of the tensor-core path: score_unit(), for scale * kLog2E
};

/// Head dims up to (kKeyWidth, kValueWidth); a warp owns 16 kRowTiles_ query rows and a step covers
/// kKeys_ keys. Q, one tile of K and one of V share at most 96 KB, so sm_86 can run every shape
/// and sm_90 two blocks at once.
template <int kKeyWidth_, int kValueWidth_, int kRowTiles_, int kKeys_>
struct ForwardShape {
  static constexpr int kKeyWidth = kKeyWidth_, kValueWidth = kValueWidth_;
  static constexpr int kRowTiles = kRowTiles_, kKeys = kKeys_;
  static constexpr int kRows = 64 * kRowTiles;
  static constexpr int kSharedBytes =
      2 * (kRows * kKeyWidth + kKeys * kKeyWidth + kKeys * kValueWidth);
};

/// Running softmax of a warp's rows, in units of log2.
template <class Shape>
struct SoftmaxRows {
  static constexpr int kRowTiles = Shape::kRowTiles, kKeyTiles = Shape::kKeys / 8;
  float max[kRowTiles][2];
  float sum[kRowTiles][2];  // this thread's columns only, until finish()

  __device__ void start() {
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m) {
      max[m][0] = max[m][1] = -INFINITY;
      sum[m][0] = sum[m][1] = 0;
    }
  }

  /// Scores become weights relative to the new maximum; `o` is brought to it as well.
  __device__ __forceinline__ void step(float (&s)[kRowTiles][kKeyTiles][4],
                                       float (&o)[kRowTiles][Shape::kValueWidth / 8][4]) {
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float most = max[m][half];
#pragma unroll
        for (int n = 0; n < kKeyTiles; ++n) {
          most = fmaxf(most, fmaxf(s[m][n][2 * half], s[m][n][2 * half + 1]));
        }
        most = fmaxf(most, __shfl_xor_sync(kAllLanes, most, 1));
        most = fmaxf(most, __shfl_xor_sync(kAllLanes, most, 2));
        // A row that has seen no key yet keeps zero sums and weights.
        const float shift = most == -INFINITY ? 0.0f : most;
        const float keep = exp2_fast(max[m][half] - shift);
        max[m][half] = most;
        float total = 0;
#pragma unroll
        for (int n = 0; n < kKeyTiles; ++n) {
#pragma unroll
          for (int e = 2 * half; e < 2 * half + 2; ++e) {
            s[m][n][e] = exp2_fast(s[m][n][e] - shift);
            total += s[m][n][e];
          }
        }
        sum[m][half] = sum[m][half] * keep + total;
#pragma unroll
        for (int n = 0; n < Shape::kValueWidth / 8; ++n) {
          o[m][n][2 * half] *= keep;
          o[m][n][2 * half + 1] *= keep;
        }
      }
    }
  }

  __device__ void finish() {
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        sum[m][half] += __shfl_xor_sync(kAllLanes, sum[m][half], 1);
        sum[m][half] += __shfl_xor_sync(kAllLanes, sum[m][half], 2);
      }
    }
  }
};

/// Scales scores by `scale`, and with `masked` sets those outside their row's interval to -inf.
template <class Shape>
__device__ __forceinline__ void scale_scores(float (&s)[Shape::kRowTiles][Shape::kKeys / 8][4],
                                             float scale, bool masked, int key,
                                             const int2* intervals) {
  const int lane = lane_id();
#pragma unroll
  for (int m = 0; m < Shape::kRowTiles; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int2 keys = masked ? intervals[16 * m + 8 * half + lane / 4] : int2{0, INT_MAX};
#pragma unroll
      for (int n = 0; n < Shape::kKeys / 8; ++n) {
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          const int at = key + 8 * n + 2 * (lane % 4) + e;
          float& score = s[m][n][2 * half + e];
          score *= scale;
          if (masked && (at < keys.x || at >= keys.y)) score = -INFINITY;
        }
      }
    }
  }
}

template <class Shape>
__device__ __forceinline__ void write_forward(
    const ForwardArgs<bf16>& args, int first, int head, Tile<Shape::kKeyWidth> q,
    const SoftmaxRows<Shape>& rows, const float (&o)[Shape::kRowTiles][Shape::kValueWidth / 8][4]) {
  const int lane = lane_id(), row = warp_id() * 16 * Shape::kRowTiles;
  float inverse[Shape::kRowTiles][2];
#pragma unroll
  for (int m = 0; m < Shape::kRowTiles; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float sum = rows.sum[m][half], most = rows.max[m][half];
      inverse[m][half] = sum == 0 ? 0.0f : 1.0f / sum;
      const int t = first + row + 16 * m + 8 * half + lane / 4;
      if (lane % 4 == 0 && t < args.intervals.tokens) {
        args.lse[static_cast<std::int64_t>(head) * args.intervals.tokens + t] =
            sum == 0 ? -INFINITY : fmaf(most, args.unit.x, fmaf(most, args.unit.y, logf(sum)));
      }
    }
  }
  // The warp's own rows of Q are no longer needed: stage there for wide stores.
  __syncwarp();
  stage_rows<Shape::kRowTiles, Shape::kValueWidth>(q, row, 0, o, inverse);
  __syncwarp();
  store_rows<16 * Shape::kRowTiles, kWarp>(args.o, first + row, head, q, row, lane);
}

template <class Shape>
__global__ void __launch_bounds__(kThreads, 2) forward_kernel(const ForwardArgs<bf16> args) {
  extern __shared__ __align__(128) unsigned char memory[];
  __shared__ int2 intervals[Shape::kRows];
  const Tile<Shape::kKeyWidth> q{reinterpret_cast<bf16*>(memory)};
  const Tile<Shape::kKeyWidth> k{q.data + Shape::kRows * Shape::kKeyWidth};
  const Tile<Shape::kValueWidth> v{k.data + Shape::kKeys * Shape::kKeyWidth};
  // Later tiles of a causal mask have more keys: they start first.
  const int tiles = static_cast<int>(gridDim.x) / args.heads;
  const int head = static_cast<int>(blockIdx.x) % args.heads, group = head / args.heads_per_group;
  const int first = (tiles - 1 - static_cast<int>(blockIdx.x) / args.heads) * Shape::kRows;
  const int warp_row = warp_id() * 16 * Shape::kRowTiles;

  // Load Q and the first keys.
  load_tile<Shape::kRows, kThreads>(q, source(args.q, first, head));
  const KeySpan span = read_intervals(args.intervals, first, intervals);
  if (!span.empty()) load_tile<Shape::kKeys, kThreads>(k, source(args.k, span.begin, group));
  cp_async_commit();

  float o[Shape::kRowTiles][Shape::kValueWidth / 8][4] = {};
  SoftmaxRows<Shape> rows;
  rows.start();
  for (int key = span.begin; key < span.end; key += Shape::kKeys) {
    // Scores, while the values arrive.
    cp_async_wait<0>();
    __syncthreads();
    load_tile<Shape::kKeys, kThreads>(v, source(args.v, key, group));
    cp_async_commit();
    float s[Shape::kRowTiles][Shape::kKeys / 8][4];
    multiply<Shape::kRowTiles, Shape::kKeys>(s, q, warp_row, k);
    // Softmax and values, while the next keys arrive.
    cp_async_wait<0>();
    __syncthreads();
    if (key + Shape::kKeys < span.end) {
      load_tile<Shape::kKeys, kThreads>(k, source(args.k, key + Shape::kKeys, group));
    }
    cp_async_commit();
    const bool masked = !span.covers(key, key + Shape::kKeys);
    scale_scores<Shape>(s, args.scale * kLog2E, masked, key, intervals + warp_row);
    rows.step(s, o);
    accumulate<Shape::kRowTiles, Shape::kKeys, Shape::kValueWidth>(o, s, v);
  }
  rows.finish();
  cp_async_wait<0>();
  __syncthreads();
  write_forward<Shape>(args, first, head, q, rows, o);
}

}  // namespace strait::kernels::cuda::attention
