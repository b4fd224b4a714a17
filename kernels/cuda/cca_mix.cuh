#pragma once

#include "kernels/cuda/convert.cuh"
#include "kernels/cuda/rope.cuh"
#include "kernels/cuda/warp.cuh"

// Pieces shared by the CCA mix forward and backward (kernels/cca.h): rows and their history, the
// depthwise convolution, and a row's way from the convolutions' output to its norm. A thread block
// works on one tile of rows of one head; a warp on one row at a time.
namespace strait::kernels::cuda::cca {

inline constexpr int kThreads = 128, kWarps = kThreads / kWarp;
inline constexpr float kNormEps = 1e-12f;
inline constexpr int kMaxTaps = 8;  // of each convolution

/// Rows of a tile: the float path has the same tiles in twice the bytes.
template <class T>
inline constexpr int kRows = sizeof(T) == 2 ? 64 : 32;

/// Four channels of which `left` exist. `vector`: rows allow accesses of four elements.
template <class T>
__device__ __forceinline__ Floats<4> load4(const T* p, int left, bool vector) {
  if (vector) return Packet<T, 4>::load(p).floats();
  Floats<4> x;
#pragma unroll
  for (int i = 0; i < 4; ++i) x[i] = i < left ? to_float(p[i]) : 0.0f;
  return x;
}

template <class T>
__device__ __forceinline__ void store4(T* p, const Floats<4>& x, int left, bool vector) {
  if (vector) return Packet<T, 4>::from(x).store(p);
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if (i < left) p[i] = from_float<T>(x[i]);
  }
}

/// A parameter that may be wider than the compute dtype.
struct Wide {
  const void* data;
  bool is_bf16;

  __device__ float at(std::int64_t i) const { return load_wide<1>(data, is_bf16, i)[0]; }
  __device__ Floats<4> load(std::int64_t i, int left, bool vector) const {
    if (is_bf16) return load4(static_cast<const bf16*>(data) + i, left, vector);
    return load4(static_cast<const float*>(data) + i, left, vector);
  }
};

/// Rows of z's shape and the halo columns before each chunk. A row is named by (chunk, row in the
/// chunk); rows below zero are halo columns.
template <class T>
struct MixRows {
  T* rows;
  T* halo;  // [chunks, halo_rows, channels] or null
  std::int64_t stride, halo_chunk, halo_row;
  int chunk_rows, halo_rows;

  __device__ T* at(int chunk, int row) const {
    if (row >= 0) return rows + (static_cast<std::int64_t>(chunk) * chunk_rows + row) * stride;
    return halo + chunk * halo_chunk + (row + halo_rows) * halo_row;
  }
};

/// The inputs that forward and backward share.
template <class T>
struct Inputs {
  MixRows<const T> z;
  const T* w0;  // [taps0, channels], null with convs = 0
  const T* w1;  // [heads, taps1 * width, width]
  Wide b0, b1, temp;
  const std::int32_t* positions;
  const std::int32_t* doc_pos;
  int tokens, chunks, chunk_rows, halo_rows;
  int heads, query_heads, groups, width;  // heads: queries and keys
  int taps0, taps1, convs;
  bool qk_mean, norm, exponential;
  bool vector, panels;  // panels: 16-byte reads of w1

  /// Width in shared memory: whole steps of the matrix product.
  __host__ __device__ int padded() const { return (width + 31) / 32 * 32; }
  /// Floats between rows of the convolutions' output in shared memory.
  __host__ __device__ int pitch() const { return padded() + 4; }
  __device__ int channels() const { return heads * width; }
  __host__ __device__ int group_size() const { return query_heads / groups; }

  /// Rows before this one that belong to its document and are at hand; negative when the row
  /// itself is a halo column of another document.
  __device__ int history(int chunk, int row) const {
    const int in_chunk = max(row, 0);
    const int in_document =
        doc_pos[static_cast<std::int64_t>(chunk) * chunk_rows + in_chunk] + row - in_chunk;
    return min(in_document, row + halo_rows);
  }

  /// tau of one key head; 1 without norm.
  __device__ float key_factor(int group) const {
    if (!norm) return 1.0f;
    const float value = temp.at(group);
    return exponential ? expf(value) : value;
  }
};

/// A tile of rows of one head.
struct TileAt {
  int chunk, first, rows, head;
};

/// First convolution at a row, four channels from c: b0 + sum over taps within `history`.
template <class T>
__device__ __forceinline__ Floats<4> depthwise(const Inputs<T>& in, int chunk, int row, int head,
                                               int c, int history) {
  const int left = in.width - c, channel = head * in.width + c;
  Floats<4> sum = in.b0.load(channel, left, in.vector);
  for (int s = 0; s <= min(in.taps0 - 1, history); ++s) {
    const std::int64_t tap = static_cast<std::int64_t>(in.taps0 - 1 - s) * in.channels();
    const Floats<4> w = load4(in.w0 + tap + channel, left, in.vector);
    const Floats<4> z = load4(in.z.at(chunk, row - s) + channel, left, in.vector);
#pragma unroll
    for (int i = 0; i < 4; ++i) sum[i] = fmaf(w[i], z[i], sum[i]);
  }
  return sum;
}

/// The qk-mean that joins four channels of a head: from z before the convolutions.
template <class T>
__device__ __forceinline__ Floats<4> qk_mean(const Inputs<T>& in, const T* z, int head, int c) {
  const int left = in.width - c, size = in.group_size();
  const int group = head < in.query_heads ? head / size : head - in.query_heads;
  Floats<4> mean = load4(z + (in.query_heads + group) * in.width + c, left, in.vector);
  const int first = head < in.query_heads ? head : group * size;
  const int count = head < in.query_heads ? 1 : size;
  const float share = 0.5f / static_cast<float>(count);
#pragma unroll
  for (int i = 0; i < 4; ++i) mean[i] *= 0.5f;
  for (int h = first; h < first + count; ++h) {
    const Floats<4> q = load4(z + h * in.width + c, left, in.vector);
#pragma unroll
    for (int i = 0; i < 4; ++i) mean[i] = fmaf(share, q[i], mean[i]);
  }
  return mean;
}

/// Completes the row `u` [width] in shared memory to y, the head before its norm; returns
/// sqrt(d) / |y|, or 1 without norm. Collective over a warp; ends with the warp in step.
template <class T>
__device__ __forceinline__ float complete_row(const Inputs<T>& in, const TileAt& at, int i,
                                              float* u) {
  const T* z = in.z.at(at.chunk, at.first + i);
  float sum = 0;
  for (int c = 4 * lane_id(); c < in.width; c += 4 * kWarp) {
    const int left = in.width - c;
    Floats<4> y;
#pragma unroll
    for (int j = 0; j < 4; ++j) y[j] = j < left ? u[c + j] : 0.0f;
    if (in.convs == 2) {
      const Floats<4> b = in.b1.load(at.head * in.width + c, left, in.vector);
#pragma unroll
      for (int j = 0; j < 4; ++j) y[j] += b[j];
    }
    if (in.qk_mean) {
      const Floats<4> mean = qk_mean(in, z, at.head, c);
#pragma unroll
      for (int j = 0; j < 4; ++j) y[j] += mean[j];
    }
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      if (j < left) u[c + j] = y[j];
      sum = fmaf(y[j], y[j], sum);
    }
  }
  sum = warp_reduce(sum);
  __syncwarp();
  if (!in.norm) return 1.0f;
  return sqrtf(static_cast<float>(in.width)) / sqrtf(sum + kNormEps);
}

/// Rotates a row in shared memory in place; `sign` is -1 for the inverse. Collective over a warp;
/// ends with the warp in step.
__device__ __forceinline__ void rotate_row(const RopeTable& table, std::int32_t position, float* x,
                                           float sign) {
  for (int p = lane_id(); p < table.pairs; p += kWarp) {
    const float2 angle = rope_angle(position, table.half_turns[p]);
    const int first = table.interleaved ? 2 * p : p;
    const int second = table.interleaved ? 2 * p + 1 : p + table.pairs;
    const float a = x[first], b = x[second];
    x[first] = fmaf(-sign * angle.y, b, a * angle.x);
    x[second] = fmaf(sign * angle.y, a, b * angle.x);
  }
  __syncwarp();
}

}  // namespace strait::kernels::cuda::cca
