#pragma once

#include <cmath>

#include "kernels/cuda/attention_bwd.cuh"
#include "kernels/cuda/attention_fwd.cuh"

// Attention in float: plain fused multiply-adds, for any head dims up to kMaxWidth. Eight warps;
// each owns a few rows of the result, its lanes the columns.
namespace strait::kernels::cuda::attention {

inline constexpr int kPlainThreads = 256;
inline constexpr int kPlainWarps = kPlainThreads / kWarp;
inline constexpr int kMaxWidth = 256;
inline constexpr int kLaneColumns = kMaxWidth / kWarp;  // columns of a result row per lane

/// Row pitch of a tile: a multiple of 4, and 16-byte reads of neighbouring rows miss each other.
__host__ __device__ inline int plain_pitch(int width) {
  return (width + 3) / 4 * 4 + 4;
}

/// Rows [row, row + rows) of one head into `tile`, zeros beyond the tensor and in the padding.
__device__ inline void load_plain(float* tile, const Heads<const float>& x, int row, int head,
                                  int rows) {
  const int pitch = plain_pitch(x.width);
  for (int i = static_cast<int>(threadIdx.x); i < rows * pitch; i += kPlainThreads) {
    const int r = i / pitch, c = i % pitch;
    tile[i] = row + r < x.rows && c < x.width ? x.at(row + r, head)[c] : 0.0f;
  }
}

/// Product of two tile rows.
__device__ inline float dot_plain(const float* a, const float* b, int width) {
  float sum = 0;
  for (int c = 0; c < width; c += 4) {
    const float4 x = *reinterpret_cast<const float4*>(a + c);
    const float4 y = *reinterpret_cast<const float4*>(b + c);
    sum = fmaf(x.x, y.x, fmaf(x.y, y.y, fmaf(x.z, y.z, fmaf(x.w, y.w, sum))));
  }
  return sum;
}

/// sums[r][i] += sum over `depth` of weight[r][.] tile[.][lane + 32 i].
template <int kRows>
__device__ inline void add_plain(float (&sums)[kRows][kLaneColumns], const float* weight,
                                 int weight_pitch, const float* tile, int width, int depth) {
  const int pitch = plain_pitch(width);
  for (int j = 0; j < depth; ++j) {
#pragma unroll
    for (int i = 0; i < kLaneColumns; ++i) {
      if (i * kWarp >= width) break;
      const int column = lane_id() + i * kWarp;
      const float x = column < width ? tile[j * pitch + column] : 0.0f;
#pragma unroll
      for (int r = 0; r < kRows; ++r) sums[r][i] = fmaf(weight[r * weight_pitch + j], x, sums[r][i]);
    }
  }
}

template <int kRows>
__device__ inline void store_plain(const Heads<float>& x, int row, int head,
                                   const float (&sums)[kRows][kLaneColumns],
                                   const float (&factor)[kRows]) {
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
#pragma unroll
    for (int i = 0; i < kLaneColumns; ++i) {
      const int column = lane_id() + i * kWarp;
      if (row + r < x.rows && column < x.width) {
        x.at(row + r, head)[column] = sums[r][i] * factor[r];
      }
    }
  }
}

inline constexpr int kPlainRows = 32;  // queries, and keys, of a forward tile

inline int plain_forward_bytes(int key_width, int value_width) {
  const int key = plain_pitch(key_width), value = plain_pitch(value_width);
  const int floats = kPlainRows * (key + (key > value ? key : value) + kPlainRows + 1);
  return 4 * floats;
}

/// Grid: (tiles of 32 queries, heads). K and V take turns in one buffer.
__global__ void __launch_bounds__(kPlainThreads)
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
__global__ void __launch_bounds__(kPlainThreads)
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
__global__ void __launch_bounds__(kPlainThreads)
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
      add_plain(dk, tiles.ds + own * PlainTiles::kPitch, PlainTiles::kPitch, tiles.q,
                args.q.width, kPlainGradRows);
    }
  }
  const float scale[kOwn] = {args.scale, args.scale}, one[kOwn] = {1.0f, 1.0f};
  store_plain(args.dk, first + own, group, dk, scale);
  store_plain(args.dv, first + own, group, dv, one);
}

}  // namespace strait::kernels::cuda::attention
