#pragma once

#include <cmath>

#include "kernels/cuda/attention_f32.cuh"
#include "kernels/cuda/attention_fwd.cuh"

// Attention forward in float.
namespace strait::kernels::cuda::attention {

inline constexpr int kPlainRows = 32;  // queries, and keys, of a forward tile

inline int plain_forward_bytes(int key_width, int value_width) {
  const int key = plain_pitch(key_width), value = plain_pitch(value_width);
  const int floats = kPlainRows * (key + (key > value ? key : value) + kPlainRows + 1);
  return 4 * floats;
}

/// Grid: (tiles of 32 queries, heads). K and V take turns in one buffer.
static __global__ void __launch_bounds__(kPlainThreads)
    forward_plain_kernel(const ForwardArgs<float> args) {
  extern __shared__ __align__(16) float plain_memory[];
  __shared__ int2 intervals[kPlainRows];
  constexpr int kOwn = kPlainRows / kPlainWarps, kPitch = kPlainRows + 1;
  const int key_pitch = plain_pitch(args.q.width), value_pitch = plain_pitch(args.v.width);
  float* q = plain_memory;
  float* kv = q + kPlainRows * key_pitch;
  float* p = kv + kPlainRows * max(key_pitch, value_pitch);
  const int first = static_cast<int>(blockIdx.x) * kPlainRows;
  const int head = static_cast<int>(blockIdx.y), group = head / args.heads_per_group;
  const int own = warp_id() * kOwn, thread = static_cast<int>(threadIdx.x);
  load_plain(q, args.q, first, head, kPlainRows);
  const KeySpan span = read_intervals(args.intervals, first, intervals);
  float o[kOwn][kLaneColumns] = {}, most[kOwn], total[kOwn] = {};
#pragma unroll
  for (int r = 0; r < kOwn; ++r) most[r] = -INFINITY;
  for (int key = span.begin; key < span.end; key += kPlainRows) {
    __syncthreads();
    load_plain(kv, args.k, key, group, kPlainRows);
    __syncthreads();
    // Scores: two rows by two columns a thread.
    for (int i = 0; i < 4; ++i) {
      const int row = thread / 16 + 16 * (i / 2), column = thread % 16 + 16 * (i % 2);
      const bool seen = key + column >= intervals[row].x && key + column < intervals[row].y;
      const float s = dot_plain(q + row * key_pitch, kv + column * key_pitch, args.q.width);
      p[row * kPitch + column] = seen ? s * args.scale : -INFINITY;
    }
    __syncthreads();
    load_plain(kv, args.v, key, group, kPlainRows);
    // Softmax of the warp's rows, one column per lane.
#pragma unroll
    for (int r = 0; r < kOwn; ++r) {
      float& weight = p[(own + r) * kPitch + lane_id()];
      const float highest = fmaxf(most[r], warp_reduce(weight, Max{}));
      const float shift = highest == -INFINITY ? 0.0f : highest;
      const float keep = expf(most[r] - shift), mine = expf(weight - shift);
      weight = mine;
      total[r] = total[r] * keep + warp_reduce(mine);
      most[r] = highest;
#pragma unroll
      for (int i = 0; i < kLaneColumns; ++i) o[r][i] *= keep;
    }
    __syncthreads();
    add_plain(o, p + own * kPitch, kPitch, kv, args.v.width, kPlainRows);
  }
  float inverse[kOwn];
#pragma unroll
  for (int r = 0; r < kOwn; ++r) {
    inverse[r] = total[r] == 0 ? 0.0f : 1.0f / total[r];
    const int t = first + own + r;
    if (lane_id() == 0 && t < args.intervals.tokens) {
      args.lse[static_cast<std::int64_t>(head) * args.intervals.tokens + t] =
          total[r] == 0 ? -INFINITY : most[r] + logf(total[r]);
    }
  }
  store_plain(args.o, first + own, head, o, inverse);
}

}  // namespace strait::kernels::cuda::attention
