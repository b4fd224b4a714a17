#pragma once

#include "kernels/cuda/cca_mix.cuh"
#include "kernels/cuda/mma_tile.cuh"

// The convolutions of one tile of rows: depthwise, then per head as a matrix product, on tensor
// cores in bf16 (the depthwise output is rounded to bf16 for it) and by multiply-adds in float.
namespace strait::kernels::cuda::cca {

inline constexpr int kPanel = 32;  // depth of a step of the product

/// Elements between rows of an operand in shared memory: an odd number of 16-byte units, so that
/// eight rows of a matrix load meet no bank twice.
template <class T>
__host__ __device__ int operand_pitch(const Inputs<T>& in) {
  return in.padded() + 8;
}

/// Bytes of shared memory that convolve() needs. The depthwise rows (with one more that holds b0)
/// and the panels of w1 make room for the output in bf16; in float both stay.
template <class T>
__host__ __device__ int convolve_bytes(const Inputs<T>& in) {
  const int operand = (kRows<T> + in.taps1) * operand_pitch(in) * static_cast<int>(sizeof(T));
  const int output = kRows<T> * in.pitch() * static_cast<int>(sizeof(float));
  if (sizeof(T) == 4) return operand + output;
  const int panels = 2 * kPanel * operand_pitch(in) * static_cast<int>(sizeof(T));
  return operand + panels > output ? operand + panels : output;
}

/// Fills the operand: row i + taps1 - 1 holds the depthwise output of row i of the tile, the last
/// one b0, all as T.
template <class T>
__device__ __forceinline__ void fill_operand(const Inputs<T>& in, const TileAt& at, T* operand) {
  const int pitch = operand_pitch(in), packets = in.padded() / 4;
  const int before = in.taps1 - 1;
  // Rows of another document, or not at hand, are never read.
  const int reach = min(before, in.history(at.chunk, at.first));
  const int count = at.rows + reach;
  for (int index = threadIdx.x; index < (count + 1) * packets; index += kThreads) {
    const int r = index / packets, c = index % packets * 4, left = in.width - c;
    const bool bias = r == count;
    const int row = at.first - reach + r;
    Floats<4> a = {};
    if (left > 0 && bias) a = in.b0.load(at.head * in.width + c, left, in.vector);
    if (left > 0 && !bias) {
      a = depthwise(in, at.chunk, row, at.head, c, in.history(at.chunk, row));
    }
    const int to = bias ? kRows<T> + before : before - reach + r;
#pragma unroll
    for (int i = 0; i < 4; ++i) operand[to * pitch + c + i] = from_float<T>(i < left ? a[i] : 0.0f);
  }
}

/// Copies `rows` rows of `columns` elements from global to shared memory, zeros outside
/// `valid_rows` and `width`; asynchronous when `vector`.
__device__ __forceinline__ void load_panel(bf16* to, int pitch, const bf16* from, int stride,
                                           int rows, int columns, int valid_rows, int width,
                                           bool vector) {
  const int packets = columns / 8;
  for (int index = threadIdx.x; index < rows * packets; index += kThreads) {
    const int r = index / packets, c = index % packets * 8;
    if (vector) {
      const bool valid = r < valid_rows && c < width;
      cp_async_16(to + r * pitch + c, valid ? from + r * stride + c : from, valid);
      continue;
    }
    for (int i = 0; i < 8; ++i) {
      const bool valid = r < valid_rows && c + i < width;
      to[r * pitch + c + i] = valid ? from[r * stride + c + i] : __float2bfloat16_rn(0.0f);
    }
  }
}

/// Writes the warps' accumulators to [rows][pitch] floats; ends with a barrier.
template <int kTiles>
__device__ __forceinline__ void store_product(const Inputs<bf16>& in,
                                              const float (&sums)[kTiles][4], float* to) {
#pragma unroll
  for (int n = 0; n < kTiles; ++n) {
    if (8 * n >= in.padded()) break;
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const int row = 16 * warp_id() + lane_id() / 4 + 8 * (e / 2);
      to[row * in.pitch() + 8 * n + 2 * (lane_id() % 4) + e % 2] = sums[n][e];
    }
  }
  __syncthreads();
}

/// u = sum over taps of operand rows times w1, [rows][pitch] at the start of `memory`. `history` of
/// the tile's rows is in shared memory. Begins and ends with a barrier.
template <int kMaxWidth>
__device__ __forceinline__ void multiply_taps(const Inputs<bf16>& in, const TileAt& at,
                                              const int* history, unsigned char* memory) {
  const int pitch = operand_pitch(in), padded = in.padded(), lane = lane_id();
  const bf16* operand = reinterpret_cast<const bf16*>(memory);
  bf16* panels = reinterpret_cast<bf16*>(memory) + (kRows<bf16> + in.taps1) * pitch;
  const int steps = in.taps1 * padded / kPanel, own = 16 * warp_id() + lane % 16;
  const auto fetch = [&](int step) {
    const int tap = step * kPanel / padded, k = step * kPanel % padded;
    const std::int64_t row = (static_cast<std::int64_t>(at.head) * in.taps1 + tap) * in.width + k;
    load_panel(panels + step % 2 * kPanel * pitch, pitch, in.w1 + row * in.width, in.width, kPanel,
               padded, in.width - k, in.width, in.panels);
  };
  float sums[kMaxWidth / 8][4] = {};
  fetch(0);
  cp_async_commit();
  __syncthreads();
  for (int step = 0; step < steps; ++step) {
    if (step + 1 < steps) fetch(step + 1);
    cp_async_commit();
    cp_async_wait<1>();
    __syncthreads();
    // Tap j reaches back taps1 - 1 - j rows; before the document lies b0.
    const int back = in.taps1 - 1 - step * kPanel / padded, k = step * kPanel % padded;
    const int row = back <= history[own] ? own + in.taps1 - 1 - back : kRows<bf16> + in.taps1 - 1;
    const bf16* panel = panels + step % 2 * kPanel * pitch;
#pragma unroll
    for (int kk = 0; kk < kPanel; kk += 16) {
      std::uint32_t fa[4];
      load_matrices(fa, operand + row * pitch + k + kk + 8 * (lane / 16));
#pragma unroll
      for (int n = 0; n < kMaxWidth / 16; ++n) {
        if (16 * n >= padded) break;
        std::uint32_t fb[4];
        load_matrices_transposed(fb, panel + (kk + lane % 16) * pitch + 16 * n + 8 * (lane / 16));
        mma_bf16(sums[2 * n], fa, fb[0], fb[1]);
        mma_bf16(sums[2 * n + 1], fa, fb[2], fb[3]);
      }
    }
    __syncthreads();
  }
  store_product(in, sums, reinterpret_cast<float*>(memory));
}

/// The same in float; u lies behind the operand.
template <int kMaxWidth>
__device__ __forceinline__ void multiply_taps(const Inputs<float>& in, const TileAt& at,
                                              const int* history, unsigned char* memory) {
  constexpr int kOwn = 8;
  const int pitch = operand_pitch(in);
  const float* operand = reinterpret_cast<const float*>(memory);
  float* u = reinterpret_cast<float*>(memory) + (kRows<float> + in.taps1) * pitch;
  __syncthreads();
  for (int item = threadIdx.x; item < kRows<float> / kOwn * in.width; item += kThreads) {
    const int column = item % in.width, first = item / in.width * kOwn;
    float sums[kOwn] = {};
    for (int tap = 0; tap < in.taps1; ++tap) {
      const int back = in.taps1 - 1 - tap;
      const float* rows[kOwn];
#pragma unroll
      for (int r = 0; r < kOwn; ++r) {
        const bool reached = back <= history[first + r];
        rows[r] = operand + (reached ? first + r + tap : kRows<float> + in.taps1 - 1) * pitch;
      }
      const std::int64_t row = (static_cast<std::int64_t>(at.head) * in.taps1 + tap) * in.width;
      const float* w = in.w1 + row * in.width + column;
      float part[kOwn] = {};
      for (int k = 0; k < in.width; ++k, w += in.width) {
#pragma unroll
        for (int r = 0; r < kOwn; ++r) part[r] = fmaf(rows[r][k], *w, part[r]);
      }
#pragma unroll
      for (int r = 0; r < kOwn; ++r) sums[r] += part[r];
    }
#pragma unroll
    for (int r = 0; r < kOwn; ++r) u[(first + r) * in.pitch() + column] = sums[r];
  }
  __syncthreads();
}

/// Output of the convolutions switched on, without b1, for the tile: returns its rows,
/// [rows][pitch] in `memory`. `history` [kRows] is filled on the way. Collective over the block;
/// ends with a barrier.
template <class T, int kMaxWidth>
__device__ __forceinline__ float* convolve(const Inputs<T>& in, const TileAt& at, int* history,
                                           unsigned char* memory) {
  for (int i = threadIdx.x; i < kRows<T>; i += kThreads) {
    history[i] = i < at.rows ? in.history(at.chunk, at.first + i) : 0;
  }
  if (in.convs == 2) {
    fill_operand(in, at, reinterpret_cast<T*>(memory));
    multiply_taps<kMaxWidth>(in, at, history, memory);
    const int before = sizeof(T) == 4 ? (kRows<T> + in.taps1) * operand_pitch(in) : 0;
    return reinterpret_cast<float*>(memory) + before;
  }
  float* u = reinterpret_cast<float*>(memory);
  const int packets = (in.width + 3) / 4;
  for (int index = threadIdx.x; index < at.rows * packets; index += kThreads) {
    const int i = index / packets, c = index % packets * 4, left = in.width - c;
    const int row = at.first + i;
    Floats<4> x;
    if (in.convs == 1) {
      x = depthwise(in, at.chunk, row, at.head, c, in.history(at.chunk, row));
    } else {
      x = load4(in.z.at(at.chunk, row) + at.head * in.width + c, left, in.vector);
    }
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      if (j < left) u[i * in.pitch() + c + j] = x[j];
    }
  }
  __syncthreads();
  return u;
}

}  // namespace strait::kernels::cuda::cca
