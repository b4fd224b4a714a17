#pragma once

#include "kernels/cuda/attention_bwd.cuh"
#include "kernels/cuda/attention_f32.cuh"

// Attention backward in float: the two kernels of the tensor-core path, one pair of query and key
// a thread.
namespace strait::kernels::cuda::attention {

inline constexpr int kPlainGradRows = 16;  // queries, and keys, of a backward tile

inline int plain_backward_bytes(int key_width, int value_width) {
  return 4 * 2 * kPlainGradRows *
         (plain_pitch(key_width) + plain_pitch(value_width) + kPlainGradRows + 1);
}

/// Tiles of Q, dO, K, V and the weights and score gradients of every pair of them.
struct PlainTiles {
  float *q, *dout, *k, *v, *p, *ds;
  int key_pitch, value_pitch;

  static constexpr int kPitch = kPlainGradRows + 1;

  __device__ PlainTiles(float* memory, int key_width, int value_width)
      : key_pitch(plain_pitch(key_width)), value_pitch(plain_pitch(value_width)) {
    q = memory;
    k = q + kPlainGradRows * key_pitch;
    dout = k + kPlainGradRows * key_pitch;
    v = dout + kPlainGradRows * value_pitch;
    p = v + kPlainGradRows * value_pitch;
    ds = p + kPlainGradRows * kPitch;
  }

  /// One pair a thread, stored at [row][column]; `query` and `key` count inside the tiles.
  __device__ void differentiate(const BackwardArgs<float>& args, int head, int first_query,
                                int query, int first_key, int key, int row, int column) const {
    const int t = first_query + query;
    const int2 seen = args.intervals.at(t);
    float weight = 0, gradient = 0;
    if (first_key + key >= seen.x && first_key + key < seen.y) {
      const std::int64_t at = static_cast<std::int64_t>(head) * args.intervals.tokens + t;
      const float s = dot_plain(q + query * key_pitch, k + key * key_pitch, args.q.width);
      const float dp = dot_plain(dout + query * value_pitch, v + key * value_pitch, args.v.width);
      weight = expf(s * args.scale - args.lse[at]);
      gradient = weight * (dp - args.delta[at]);
    }
    p[row * kPitch + column] = weight;
    ds[row * kPitch + column] = gradient;
  }
};

/// Grid: (tiles of 16 queries, heads).
static __global__ void __launch_bounds__(kPlainThreads)
    query_grad_plain_kernel(const BackwardArgs<float> args) {
  extern __shared__ __align__(16) float plain_memory[];
  __shared__ int2 intervals[kPlainGradRows];
  constexpr int kOwn = kPlainGradRows / kPlainWarps;
  const PlainTiles tiles(plain_memory, args.q.width, args.v.width);
  const int first = static_cast<int>(blockIdx.x) * kPlainGradRows;
  const int head = static_cast<int>(blockIdx.y), group = head / args.heads_per_group;
  const int own = warp_id() * kOwn, thread = static_cast<int>(threadIdx.x);
  load_plain(tiles.q, args.q, first, head, kPlainGradRows);
  load_plain(tiles.dout, args.dout, first, head, kPlainGradRows);
  const KeySpan span = read_intervals(args.intervals, first, intervals);
  float dq[kOwn][kLaneColumns] = {};
  for (int key = span.begin; key < span.end; key += kPlainGradRows) {
    __syncthreads();
    load_plain(tiles.k, args.k, key, group, kPlainGradRows);
    load_plain(tiles.v, args.v, key, group, kPlainGradRows);
    __syncthreads();
    const int query = thread / kPlainGradRows, column = thread % kPlainGradRows;
    tiles.differentiate(args, head, first, query, key, column, query, column);
    __syncthreads();
    add_plain(dq, tiles.ds + own * PlainTiles::kPitch, PlainTiles::kPitch, tiles.k, args.q.width,
              kPlainGradRows);
  }
  const float factor[kOwn] = {args.scale, args.scale};
  store_plain(args.dq, first + own, head, dq, factor);
}

/// Grid: (tiles of 16 keys, groups).
static __global__ void __launch_bounds__(kPlainThreads)
    key_grad_plain_kernel(const BackwardArgs<float> args, int query_tiles) {
  extern __shared__ __align__(16) float plain_memory[];
  constexpr int kOwn = kPlainGradRows / kPlainWarps;
  const PlainTiles tiles(plain_memory, args.q.width, args.v.width);
  const int first = static_cast<int>(blockIdx.x) * kPlainGradRows;
  const int group = static_cast<int>(blockIdx.y);
  const int own = warp_id() * kOwn, thread = static_cast<int>(threadIdx.x);
  load_plain(tiles.k, args.k, first, group, kPlainGradRows);
  load_plain(tiles.v, args.v, first, group, kPlainGradRows);
  float dk[kOwn][kLaneColumns] = {}, dv[kOwn][kLaneColumns] = {};
  const auto find = [&](int from) {
    return next_tile(args.spans, from, query_tiles, first, first + kPlainGradRows);
  };
  for (int tile = find(0); tile < query_tiles; tile = find(tile + 1)) {
    for (int member = 0; member < args.heads_per_group; ++member) {
      const int head = group * args.heads_per_group + member, query = tile * kPlainGradRows;
      __syncthreads();
      load_plain(tiles.q, args.q, query, head, kPlainGradRows);
      load_plain(tiles.dout, args.dout, query, head, kPlainGradRows);
      __syncthreads();
      const int key = thread / kPlainGradRows, column = thread % kPlainGradRows;
      tiles.differentiate(args, head, query, column, first, key, key, column);
      __syncthreads();
      add_plain(dv, tiles.p + own * PlainTiles::kPitch, PlainTiles::kPitch, tiles.dout,
                args.v.width, kPlainGradRows);
      add_plain(dk, tiles.ds + own * PlainTiles::kPitch, PlainTiles::kPitch, tiles.q, args.q.width,
                kPlainGradRows);
    }
  }
  const float scale[kOwn] = {args.scale, args.scale}, one[kOwn] = {1.0f, 1.0f};
  store_plain(args.dk, first + own, group, dk, scale);
  store_plain(args.dv, first + own, group, dv, one);
}

}  // namespace strait::kernels::cuda::attention
