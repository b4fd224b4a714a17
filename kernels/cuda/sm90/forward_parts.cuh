#pragma once

#include "kernels/cuda/sm90/softmax.cuh"

// Where few tiles of queries would leave multiprocessors idle, the keys of a tile are divided into
// parts, which are tiles of their own to the scheduler. Each warpgroup leaves its sums of a part in
// global memory; the last one to do so adds them all up, in the order of the parts, so that results
// repeat bit for bit.
namespace strait::kernels::cuda::sm90 {

/// Sums over one part of the keys, for the 64 queries of a warpgroup, as its threads hold them.
template <int kColumns>
struct ForwardPart {
  float4 packet[kColumns / 8][kWarpgroup];
  float4 state[kWarpgroup];  // of the softmax
};

/// In the workspace. A tile has at most `most` parts of about `blocks` blocks of keys.
struct ForwardParts {
  void* sums = nullptr;    // ForwardPart[heads, tiles, most, groups]
  int* arrived = nullptr;  // [heads, tiles, groups]; zero before a kernel and after it
  int most = 1, blocks = 1;

  /// Of a tile with so many blocks of keys.
  __device__ __forceinline__ int count(int tile_blocks) const {
    return most == 1 ? 1 : max(1, (tile_blocks + blocks - 1) / blocks);
  }
};

/// Leaves a part for the warpgroup that adds them up.
template <int kColumns>
__device__ __forceinline__ void leave_part(ForwardPart<kColumns>& part,
                                           const float (&o)[kColumns / 2], const float4& state) {
  const int thread = static_cast<int>(threadIdx.x) % kWarpgroup;
#pragma unroll
  for (int i = 0; i < kColumns / 8; ++i) {
    part.packet[i][thread] = {o[4 * i], o[4 * i + 1], o[4 * i + 2], o[4 * i + 3]};
  }
  part.state[thread] = state;
}

/// Adds up `count` parts that lie `stride` apart.
template <int kColumns>
__device__ __forceinline__ void add_parts(const ForwardPart<kColumns>* parts, int count, int stride,
                                          float (&o)[kColumns / 2], Softmax& softmax) {
  const int thread = static_cast<int>(threadIdx.x) % kWarpgroup;
  for (int p = 0; p < count; ++p) softmax.raise(__ldcg(&parts[p * stride].state[thread]));
#pragma unroll
  for (float& x : o) x = 0;
#pragma unroll 1
  for (int p = 0; p < count; ++p) {
    const auto& part = parts[p * stride];
    float factor[2];
    softmax.add(__ldcg(&part.state[thread]), factor);
#pragma unroll
    for (int i = 0; i < kColumns / 8; ++i) {
      const float4 x = __ldcg(&part.packet[i][thread]);
      o[4 * i] = fmaf(x.x, factor[0], o[4 * i]);
      o[4 * i + 1] = fmaf(x.y, factor[0], o[4 * i + 1]);
      o[4 * i + 2] = fmaf(x.z, factor[1], o[4 * i + 2]);
      o[4 * i + 3] = fmaf(x.w, factor[1], o[4 * i + 3]);
    }
  }
}

}  // namespace strait::kernels::cuda::sm90
