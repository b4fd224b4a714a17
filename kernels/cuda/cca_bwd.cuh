#pragma once

#include "kernels/cuda/cca_conv.cuh"

// Backward of the CCA mix in three kernels over a workspace: from dq, dk to du, the gradient of the
// convolutions' output; from du to dz and the sums of the small parameters; from du to dw1. Sums
// over tokens are partial sums of blocks, added in block order by add_column_sums.
namespace strait::kernels::cuda::cca {

/// du of every head, [T, heads width], in the compute dtype.
template <class T>
struct HeadGrads {
  const T* dq;
  const T* dk;
  std::int64_t dq_token, dq_head, dk_token, dk_head;
  T* du;
  float* dtemp;  // [row tiles, groups] partial sums

  __device__ const T* at(std::int64_t token, int head, int query_heads) const {
    if (head < query_heads) return dq + token * dq_token + head * dq_head;
    return dk + token * dk_token + (head - query_heads) * dk_head;
  }
};

/// Bytes of shared memory of head_grads(): a row of gradients for each warp behind the tile.
template <class T>
int head_grad_bytes(const Inputs<T>& in) {
  return convolve_bytes(in) + kWarps * in.pitch() * static_cast<int>(sizeof(float));
}

/// Gradient of one row's y, in shared memory, from `turned`, the gradient of its normalised head:
/// stores du; returns the gradient of tau, a sum in which much cancels, in double (nothing that
/// counts without norm). Collective over a warp.
template <class T>
__device__ __forceinline__ double undo_norm(const Inputs<T>& in, const float* turned,
                                            const float* y, float factor, float tau, T* du) {
  double products = 0;
  for (int c = lane_id(); c < in.width; c += kWarp) {
    products += static_cast<double>(turned[c]) * y[c];
  }
  products = warp_reduce(products);
  const auto along = static_cast<float>(products);
  // factor = sqrt(d) / n, so d factor / dy = -factor y / n^2 with 1 / n^2 = factor^2 / d.
  const float back = in.norm ? along * factor * factor / static_cast<float>(in.width) : 0.0f;
  for (int c = 4 * lane_id(); c < in.width; c += 4 * kWarp) {
    const int left = in.width - c;
    Floats<4> g;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      g[j] = j < left ? tau * factor * (turned[c + j] - back * y[c + j]) : 0.0f;
    }
    store4(du + c, g, left, in.vector);
  }
  return factor * products;
}

/// Grid as mix_forward: row tiles times heads, heads fastest.
template <class T, int kMaxWidth>
__global__ void __launch_bounds__(kThreads)
    head_grads(const __grid_constant__ Inputs<T> in, const __grid_constant__ HeadGrads<T> grads,
               const __grid_constant__ RopeTable table) {
  extern __shared__ __align__(128) unsigned char memory[];
  __shared__ int history[kRows<T>];
  __shared__ double dtau_of_warp[kWarps];
  const int block = static_cast<int>(blockIdx.x) / in.heads;
  const int per_chunk = (in.chunk_rows + kRows<T> - 1) / kRows<T>;
  TileAt at{block / per_chunk, block % per_chunk * kRows<T>, 0,
            static_cast<int>(blockIdx.x) % in.heads};
  at.rows = min(kRows<T>, in.chunk_rows - at.first);
  const int group = at.head - in.query_heads;
  const float tau = group >= 0 ? in.key_factor(group) : 1.0f;

  float* const rows = convolve<T, kMaxWidth>(in, at, history, memory);
  float* turned = reinterpret_cast<float*>(memory + convolve_bytes(in)) + warp_id() * in.pitch();
  double dtau = 0;
  for (int i = warp_id(); i < at.rows; i += kWarps) {
    const std::int64_t token = static_cast<std::int64_t>(at.chunk) * in.chunk_rows + at.first + i;
    // y again, and the gradient turned back.
    float* y = rows + i * in.pitch();
    const float factor = complete_row(in, at, i, y);
    const T* dout = grads.at(token, at.head, in.query_heads);
    for (int c = 4 * lane_id(); c < in.width; c += 4 * kWarp) {
      const int left = in.width - c;
      const Floats<4> g = load4(dout + c, left, in.vector);
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        if (j < left) turned[c + j] = g[j];
      }
    }
    __syncwarp();
    rotate_row(table, in.positions[token], turned, -1);
    T* du = grads.du + (token * in.heads + at.head) * in.width;
    dtau += undo_norm(in, turned, y, factor, tau, du);
    __syncwarp();
  }
  if (group < 0 || !in.norm) return;
  if (lane_id() == 0) dtau_of_warp[warp_id()] = dtau;
  __syncthreads();
  if (threadIdx.x != 0) return;
  double sum = 0;
  for (int w = 0; w < kWarps; ++w) sum += dtau_of_warp[w];
  grads.dtemp[static_cast<std::int64_t>(block) * in.groups + group] =
      static_cast<float>(in.exponential ? sum * tau : sum);
}

}  // namespace strait::kernels::cuda::cca
