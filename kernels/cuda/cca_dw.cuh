#pragma once

#include "kernels/cuda/cca_conv.cuh"

// Gradient of the per-head convolution's weights: for each head and tap the depthwise output,
// shifted, transposed, times du. Tokens are cut into splits whose partial sums are added in order.
namespace strait::kernels::cuda::cca {

inline constexpr int kWeightRows = 64, kWeightColumns = 128;  // inputs and outputs of a block
inline constexpr int kWeightBlocks = 528;  // aimed at: four for each multiprocessor of an H100

struct WeightGrads {
  const void* du;    // [T, heads width] in the compute dtype
  float* partials;   // [splits, heads, taps1 width, width]
  int split_tokens;  // a multiple of the step
  bool du_vector;    // 16-byte reads of du
};

/// Tokens of one step of the sum.
template <class T>
inline constexpr int kWeightStep = sizeof(T) == 2 ? 64 : 16;

template <class T>
int weight_blocks_per_split(const Inputs<T>& in) {
  const int rows = (in.width + kWeightRows - 1) / kWeightRows;
  const int columns = (in.width + kWeightColumns - 1) / kWeightColumns;
  return in.heads * in.taps1 * rows * columns;
}

/// What a block works on.
struct WeightTile {
  int head, tap, row, column;  // row, column: first input and output channel
  int token, token_end;

  template <class T>
  __device__ WeightTile(const Inputs<T>& in, const WeightGrads& grads) {
    const int columns = (in.width + kWeightColumns - 1) / kWeightColumns;
    const int rows = (in.width + kWeightRows - 1) / kWeightRows;
    int index = static_cast<int>(blockIdx.x);
    column = index % columns * kWeightColumns;
    index /= columns;
    row = index % rows * kWeightRows;
    index /= rows;
    tap = index % in.taps1;
    head = index / in.taps1;
    token = static_cast<int>(blockIdx.y) * grads.split_tokens;
    token_end = min(token + grads.split_tokens, in.tokens);
  }
};

/// What the tap multiplied at a token: four channels from c of the depthwise output, or b0.
template <class T>
__device__ __forceinline__ Floats<4> tap_input(const Inputs<T>& in, const WeightTile& at, int token,
                                               int c) {
  const int chunk = token / in.chunk_rows, row = token % in.chunk_rows;
  const int back = in.taps1 - 1 - at.tap;
  if (back > in.history(chunk, row)) {
    return in.b0.load(at.head * in.width + c, in.width - c, in.vector);
  }
  return depthwise(in, chunk, row - back, at.head, c, in.history(chunk, row - back));
}

/// Fills rows of the left operand with put(row, channel in the tile, four values).
template <class T, class Put>
__device__ __forceinline__ void fill_tap_inputs(const Inputs<T>& in, const WeightTile& at,
                                                int first, Put&& put) {
  constexpr int kPackets = kWeightRows / 4;
  for (int index = threadIdx.x; index < kWeightStep<T> * kPackets; index += kThreads) {
    const int i = index / kPackets, c = index % kPackets * 4;
    Floats<4> a = {};
    if (first + i < at.token_end && at.row + c < in.width) {
      a = tap_input(in, at, first + i, at.row + c);
    }
    put(i, c, a);
  }
}

/// Where output (row, column) of the block's tile belongs in the partial sums; null when outside.
template <class T>
__device__ __forceinline__ float* partial_of(const Inputs<T>& in, const WeightGrads& grads,
                                             const WeightTile& at, int row, int column) {
  if (at.row + row >= in.width || at.column + column >= in.width) return nullptr;
  const std::int64_t head = static_cast<std::int64_t>(blockIdx.y) * in.heads + at.head;
  const std::int64_t line = (head * in.taps1 + at.tap) * in.width + at.row + row;
  return grads.partials + line * in.width + at.column + column;
}

/// 2 x 2 warps of 32 inputs by 64 outputs.
__device__ __forceinline__ void sum_weights(const Inputs<bf16>& in, const WeightGrads& grads,
                                            const WeightTile& at) {
  constexpr int kStep = kWeightStep<bf16>;
  __shared__ __align__(128) bf16 inputs[kStep * kWeightRows], outputs[kStep * kWeightColumns];
  const Tile<kWeightRows> a{inputs};
  const Tile<kWeightColumns> b{outputs};
  const int row = warp_id() / 2 * 32, column = warp_id() % 2 * 64, lane = lane_id();
  const std::int64_t stride = in.channels();
  float sums[2][8][4] = {};
  for (int first = at.token; first < at.token_end; first += kStep) {
    const bf16* du =
        static_cast<const bf16*>(grads.du) + first * stride + at.head * in.width + at.column;
    load_tile<kStep, kThreads>(
        b, {du, stride, at.token_end - first, in.width - at.column, grads.du_vector});
    cp_async_commit();
    fill_tap_inputs(in, at, first, [&](int i, int c, const Floats<4>& x) {
      Packet<bf16, 4>::from(x).store(a.at(i, c / 8) + c % 8);
    });
    cp_async_wait<0>();
    __syncthreads();
#pragma unroll
    for (int k = 0; k < kStep; k += 16) {
      std::uint32_t fa[2][4];
      load_a_transposed(fa[0], a, k, row / 8);
      load_a_transposed(fa[1], a, k, row / 8 + 2);
#pragma unroll
      for (int n = 0; n < 4; ++n) {
        std::uint32_t fb[4];
        load_b_transposed(fb, b, k, column / 8 + 2 * n);
#pragma unroll
        for (int m = 0; m < 2; ++m) {
          mma_bf16(sums[m][2 * n], fa[m], fb[0], fb[1]);
          mma_bf16(sums[m][2 * n + 1], fa[m], fb[2], fb[3]);
        }
      }
    }
    __syncthreads();
  }
#pragma unroll
  for (int m = 0; m < 2; ++m) {
#pragma unroll
    for (int n = 0; n < 8; ++n) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        float* to = partial_of(in, grads, at, row + 16 * m + lane / 4 + 8 * (e / 2),
                               column + 8 * n + 2 * (lane % 4) + e % 2);
        if (to) *to = sums[m][n][e];
      }
    }
  }
}

/// The same in float: 8 x 16 threads of 8 x 8 sums.
__device__ __forceinline__ void sum_weights(const Inputs<float>& in, const WeightGrads& grads,
                                            const WeightTile& at) {
  constexpr int kStep = kWeightStep<float>, kOwn = 8;
  __shared__ float a[kStep][kWeightRows], b[kStep][kWeightColumns];
  const int ty = static_cast<int>(threadIdx.x) / 16, tx = static_cast<int>(threadIdx.x) % 16;
  float sums[kOwn][kOwn] = {};
  for (int first = at.token; first < at.token_end; first += kStep) {
    fill_tap_inputs(in, at, first, [&](int i, int c, const Floats<4>& x) {
      for (int j = 0; j < 4; ++j) a[i][c + j] = x[j];
    });
    for (int index = threadIdx.x; index < kStep * kWeightColumns; index += kThreads) {
      const int i = index / kWeightColumns, c = index % kWeightColumns;
      const bool inside = first + i < at.token_end && at.column + c < in.width;
      const std::int64_t row = static_cast<std::int64_t>(first + i) * in.channels();
      const float* du = static_cast<const float*>(grads.du) + row + at.head * in.width + at.column;
      b[i][c] = inside ? du[c] : 0.0f;
    }
    __syncthreads();
#pragma unroll 4
    for (int k = 0; k < kStep; ++k) {
#pragma unroll
      for (int i = 0; i < kOwn; ++i) {
#pragma unroll
        for (int j = 0; j < kOwn; ++j) {
          sums[i][j] = fmaf(a[k][ty + 8 * i], b[k][tx + 16 * j], sums[i][j]);
        }
      }
    }
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < kOwn; ++i) {
#pragma unroll
    for (int j = 0; j < kOwn; ++j) {
      float* to = partial_of(in, grads, at, ty + 8 * i, tx + 16 * j);
      if (to) *to = sums[i][j];
    }
  }
}

/// Grid: (output columns, input rows, taps, heads; splits of the tokens).
template <class T>
__global__ void __launch_bounds__(kThreads)
    weight_grads(const __grid_constant__ Inputs<T> in, const WeightGrads grads) {
  sum_weights(in, grads, WeightTile(in, grads));
}

}  // namespace strait::kernels::cuda::cca
