#pragma once

#include "kernels/cuda/cca_conv.cuh"

// From du to dz: back through the convolutions and the qk-mean, and partial sums of dw0, db0, db1.
// Written as a gather: a row collects what later rows owe it, so that every output has one owner.
namespace strait::kernels::cuda::cca {

template <class T>
struct InputGrads {
  const T* du;    // [T, heads width]
  MixRows<T> dz;  // its halo is assigned, too
  float* dw0;     // [tiles, taps0 * channels], null without the convolution
  float* db0;     // [tiles, channels]
  float* db1;     // [tiles, channels], null without the per-head convolution
};

/// Rows of z that a tile owns: all but those that only reach into the next tile, and one that
/// stands for everything before documents (the gradient that b0 receives there).
template <class T>
__host__ __device__ int owned_rows(const Inputs<T>& in) {
  return kRows<T> - (in.taps0 - 1) - 1;
}

/// Tiles cover the halo columns of a chunk and its rows.
template <class T>
__host__ __device__ int tiles_per_chunk(const Inputs<T>& in) {
  return (in.halo_rows + in.chunk_rows + owned_rows(in) - 1) / owned_rows(in);
}

/// Rows of du behind the operand's tile rows: one of zeros, then for s = 1 .. taps1 - 1 the sum of
/// du over the rows that have fewer than s predecessors.
template <class T>
__host__ __device__ int du_rows(const Inputs<T>& in) {
  return kRows<T> + in.taps1 - 1;
}

template <class T>
__host__ __device__ int input_grad_bytes(const Inputs<T>& in) {
  const int output = kRows<T> * in.pitch() * static_cast<int>(sizeof(float));
  if (in.convs != 2) return output;
  const int operand = (du_rows(in) + in.taps1) * operand_pitch(in) * static_cast<int>(sizeof(T));
  if (sizeof(T) == 4) return operand + output;
  const int panels = 2 * in.padded() * (kPanel + 8) * static_cast<int>(sizeof(T));
  return operand + panels > output ? operand + panels : output;
}

/// What the threads of a tile share. `history[i]` belongs to row first + i; -1 outside the chunk.
struct GradTile {
  int chunk, first, owned, head;
  const int* history;

  /// Whether the row at i took its value from `back` rows before it.
  __device__ bool reaches(int i, int back) const { return back <= history[i]; }
};

/// Loads du of the tile's rows and works out the rows behind them. Ends with a barrier.
template <class T>
__device__ __forceinline__ void fill_du(const Inputs<T>& in, const InputGrads<T>& grads,
                                        const GradTile& at, T* operand) {
  const int pitch = operand_pitch(in), packets = in.padded() / 4, rows = du_rows(in);
  for (int index = threadIdx.x; index < (rows + 1) * packets; index += kThreads) {
    const int i = index / packets, c = index % packets * 4, left = in.width - c;
    const int row = at.first + i;
    Floats<4> x = {};
    if (i < rows && row >= 0 && row < in.chunk_rows && left > 0) {
      const std::int64_t token = static_cast<std::int64_t>(at.chunk) * in.chunk_rows + row;
      x = load4(grads.du + (token * in.heads + at.head) * in.width + c, left, in.vector);
    }
#pragma unroll
    for (int j = 0; j < 4; ++j) operand[i * pitch + c + j] = from_float<T>(x[j]);
  }
  __syncthreads();
  for (int index = threadIdx.x; index < (in.taps1 - 1) * in.padded(); index += kThreads) {
    const int s = 1 + index / in.padded(), c = index % in.padded();
    float sum = 0;
    for (int i = max(0, -at.first); i < at.owned; ++i) {
      if (at.first + i < in.chunk_rows && !at.reaches(i, s)) {
        sum += to_float(operand[i * pitch + c]);
      }
    }
    operand[(rows + s) * pitch + c] = from_float<T>(sum);
  }
  __syncthreads();
}

/// Operand row whose product with the transposed tap that reaches `back` rows adds to row m of da.
/// The last row of a tile gathers what b0 is owed.
template <class T>
__device__ __forceinline__ int source_row(const Inputs<T>& in, const GradTile& at, int m,
                                          int back) {
  const int zeros = du_rows(in);
  if (m == kRows<T> - 1) return back > 0 ? zeros + back : zeros;
  const int row = at.first + m + back;
  return row >= 0 && row < in.chunk_rows && at.reaches(m + back, back) ? m + back : zeros;
}

/// da = sum over taps of du times the transposed tap, [rows][pitch] at the start of `memory`.
/// Begins after and ends with a barrier.
template <int kMaxWidth>
__device__ __forceinline__ void multiply_back(const Inputs<bf16>& in, const GradTile& at,
                                              unsigned char* memory) {
  constexpr int kPanelPitch = kPanel + 8;
  const int pitch = operand_pitch(in), padded = in.padded(), lane = lane_id();
  const bf16* operand = reinterpret_cast<const bf16*>(memory);
  bf16* panels = reinterpret_cast<bf16*>(memory) + (du_rows(in) + in.taps1) * pitch;
  const int steps = in.taps1 * padded / kPanel, own = 16 * warp_id() + lane % 16;
  const auto fetch = [&](int step) {
    const int tap = step * kPanel / padded, k = step * kPanel % padded;
    const std::int64_t row = (static_cast<std::int64_t>(at.head) * in.taps1 + tap) * in.width;
    load_panel(panels + step % 2 * padded * kPanelPitch, kPanelPitch, in.w1 + row * in.width + k,
               in.width, padded, kPanel, in.width, in.width - k, in.panels);
  };
  float sums[kMaxWidth / 8][4] = {};
  fetch(0);
  cp_async_commit();
  for (int step = 0; step < steps; ++step) {
    if (step + 1 < steps) fetch(step + 1);
    cp_async_commit();
    cp_async_wait<1>();
    __syncthreads();
    const int back = in.taps1 - 1 - step * kPanel / padded, k = step * kPanel % padded;
    const int row = source_row(in, at, own, back);
    const bf16* panel = panels + step % 2 * padded * kPanelPitch;
#pragma unroll
    for (int kk = 0; kk < kPanel; kk += 16) {
      std::uint32_t fa[4];
      load_matrices(fa, operand + row * pitch + k + kk + 8 * (lane / 16));
#pragma unroll
      for (int n = 0; n < kMaxWidth / 16; ++n) {
        if (16 * n >= padded) break;
        std::uint32_t fb[4];
        const int column = 16 * n + lane % 8 + lane / 16 * 8;
        load_matrices(fb, panel + column * kPanelPitch + kk + lane / 8 % 2 * 8);
        mma_bf16(sums[2 * n], fa, fb[0], fb[1]);
        mma_bf16(sums[2 * n + 1], fa, fb[2], fb[3]);
      }
    }
    __syncthreads();
  }
  store_product(in, sums, reinterpret_cast<float*>(memory));
}

/// The same in float; da lies behind the operand.
template <int kMaxWidth>
__device__ __forceinline__ void multiply_back(const Inputs<float>& in, const GradTile& at,
                                              unsigned char* memory) {
  constexpr int kOwn = 8;
  const int pitch = operand_pitch(in);
  const float* operand = reinterpret_cast<const float*>(memory);
  float* da = reinterpret_cast<float*>(memory) + (du_rows(in) + in.taps1) * pitch;
  for (int item = threadIdx.x; item < kRows<float> / kOwn * in.width; item += kThreads) {
    const int column = item % in.width, first = item / in.width * kOwn;
    float sums[kOwn] = {};
    for (int tap = 0; tap < in.taps1; ++tap) {
      const float* rows[kOwn];
#pragma unroll
      for (int r = 0; r < kOwn; ++r) {
        rows[r] = operand + source_row(in, at, first + r, in.taps1 - 1 - tap) * pitch;
      }
      const std::int64_t row = (static_cast<std::int64_t>(at.head) * in.taps1 + tap) * in.width;
      const float* w = in.w1 + (row + column) * in.width;
      float part[kOwn] = {};
      for (int k = 0; k < in.width; ++k) {
#pragma unroll
        for (int r = 0; r < kOwn; ++r) part[r] = fmaf(rows[r][k], w[k], part[r]);
      }
#pragma unroll
      for (int r = 0; r < kOwn; ++r) sums[r] += part[r];
    }
#pragma unroll
    for (int r = 0; r < kOwn; ++r) da[(first + r) * in.pitch() + column] = sums[r];
  }
  __syncthreads();
}

/// With at most the depthwise convolution da is du.
template <class T>
__device__ __forceinline__ void copy_du(const Inputs<T>& in, const InputGrads<T>& grads,
                                        const GradTile& at, float* da) {
  for (int index = threadIdx.x; index < kRows<T> * in.width; index += kThreads) {
    const int m = index / in.width, c = index % in.width, row = at.first + m;
    const bool inside = m < kRows<T> - 1 && row >= 0 && row < in.chunk_rows;
    const std::int64_t token = static_cast<std::int64_t>(at.chunk) * in.chunk_rows + row;
    const T* du = grads.du + (token * in.heads + at.head) * in.width;
    da[m * in.pitch() + c] = inside ? to_float(du[c]) : 0.0f;
  }
  __syncthreads();
}

/// Partial sums of the tile, one channel per thread at a time.
template <class T>
__device__ __forceinline__ void sum_parameters(const Inputs<T>& in, const InputGrads<T>& grads,
                                               const GradTile& at, std::int64_t tile,
                                               const float* da) {
  for (int c = threadIdx.x; c < in.width; c += kThreads) {
    const int channel = at.head * in.width + c;
    float db0 = da[(kRows<T> - 1) * in.pitch() + c], db1 = 0;
    for (int i = 0; i < at.owned; ++i) {
      const int row = at.first + i;
      db0 += da[i * in.pitch() + c];
      if (grads.db1 && row >= 0 && row < in.chunk_rows) {
        const std::int64_t token = static_cast<std::int64_t>(at.chunk) * in.chunk_rows + row;
        db1 += to_float(grads.du[token * in.channels() + channel]);
      }
    }
    grads.db0[tile * in.channels() + channel] = db0;
    if (grads.db1) grads.db1[tile * in.channels() + channel] = db1;
    for (int tap = 0; tap < in.taps0; ++tap) {
      const int back = in.taps0 - 1 - tap;
      float sum = 0;
      for (int i = 0; i < at.owned; ++i) {
        if (!at.reaches(i, back)) continue;
        const float z = to_float(in.z.at(at.chunk, at.first + i - back)[channel]);
        sum = fmaf(da[i * in.pitch() + c], z, sum);
      }
      grads.dw0[(tile * in.taps0 + tap) * in.channels() + channel] = sum;
    }
  }
}

/// What dz of four channels receives through the qk-mean.
template <class T>
__device__ __forceinline__ Floats<4> mean_grad(const Inputs<T>& in, const T* du, int head, int c) {
  const int left = in.width - c, size = in.group_size();
  const int group = head < in.query_heads ? head / size : head - in.query_heads;
  Floats<4> sum = load4(du + (in.query_heads + group) * in.width + c, left, in.vector);
  if (head < in.query_heads) {
    const Floats<4> dq = load4(du + head * in.width + c, left, in.vector);
    const float share = 0.5f / static_cast<float>(size);
#pragma unroll
    for (int i = 0; i < 4; ++i) sum[i] = fmaf(share, sum[i], 0.5f * dq[i]);
    return sum;
  }
  for (int h = group * size; h < (group + 1) * size; ++h) {
    const Floats<4> dq = load4(du + h * in.width + c, left, in.vector);
#pragma unroll
    for (int i = 0; i < 4; ++i) sum[i] += dq[i];
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) sum[i] *= 0.5f;
  return sum;
}

/// dz of the tile's rows: through the depthwise convolution and the mean.
template <class T>
__device__ __forceinline__ void store_input_grads(const Inputs<T>& in, const InputGrads<T>& grads,
                                                  const GradTile& at, const float* da) {
  const int packets = (in.width + 3) / 4;
  for (int index = threadIdx.x; index < at.owned * packets; index += kThreads) {
    const int i = index / packets, c = index % packets * 4, left = in.width - c;
    const int row = at.first + i, channel = at.head * in.width + c;
    const std::int64_t token = static_cast<std::int64_t>(at.chunk) * in.chunk_rows + row;
    Floats<4> dz = {};
    if (row >= 0 && in.qk_mean) dz = mean_grad(in, grads.du + token * in.channels(), at.head, c);
    for (int s = 0; s < in.taps0; ++s) {
      if (!at.reaches(i + s, s)) continue;
      const std::int64_t tap = static_cast<std::int64_t>(in.taps0 - 1 - s) * in.channels();
      Floats<4> w;
#pragma unroll
      for (int j = 0; j < 4; ++j) w[j] = 1.0f;
      if (in.w0) w = load4(in.w0 + tap + channel, left, in.vector);
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        if (j < left) dz[j] = fmaf(w[j], da[(i + s) * in.pitch() + c + j], dz[j]);
      }
    }
    store4(grads.dz.at(at.chunk, row) + channel, dz, left, in.vector);
  }
}

/// Grid: tiles of all chunks times heads, heads fastest.
template <class T, int kMaxWidth>
__global__ void __launch_bounds__(kThreads)
    input_grads(const __grid_constant__ Inputs<T> in, const __grid_constant__ InputGrads<T> grads) {
  extern __shared__ __align__(128) unsigned char memory[];
  __shared__ int history[kRows<T> + kMaxTaps];
  const int tile = static_cast<int>(blockIdx.x) / in.heads, per_chunk = tiles_per_chunk(in);
  const int chunk = tile / per_chunk;
  const int first = tile % per_chunk * owned_rows(in) - in.halo_rows;
  const int owned = min(owned_rows(in), in.chunk_rows - first);
  const GradTile at{chunk, first, owned, static_cast<int>(blockIdx.x) % in.heads, history};
  for (int i = threadIdx.x; i < kRows<T> + in.taps1; i += kThreads) {
    history[i] = first + i < in.chunk_rows ? in.history(chunk, first + i) : -1;
  }
  __syncthreads();
  auto* da = reinterpret_cast<float*>(memory);
  if (in.convs == 2) {
    auto* operand = reinterpret_cast<T*>(memory);
    fill_du(in, grads, at, operand);
    multiply_back<kMaxWidth>(in, at, memory);
    if (sizeof(T) == 4) da += (du_rows(in) + in.taps1) * operand_pitch(in);
  } else {
    copy_du(in, grads, at, da);
  }
  if (grads.dw0) sum_parameters(in, grads, at, tile, da);
  store_input_grads(in, grads, at, da);
}

}  // namespace strait::kernels::cuda::cca
