#pragma once

#include "kernels/cuda/attention_tile.cuh"
#include "kernels/cuda/convert.cuh"

// What the two tensor-core backward kernels share, and the pass before them: row sums
// delta = dout . o and the key spans of the tiles of queries (arXiv 2307.08691, algorithm 2).
namespace strait::kernels::cuda::attention {

/// T is bf16, or float on the path without tensor cores.
template <class T>
struct BackwardArgs {
  Heads<const T> dout, q, k, v, o;
  Heads<T> dq, dk, dv;
  const float* lse;  // [heads, tokens]
  float* delta;      // [heads, tokens]
  KeySpan* spans;    // [tiles of span_rows queries]
  Intervals intervals;
  int heads, heads_per_group, span_rows;
  float scale;
};

inline constexpr int kPrepareThreads = 256;

/// One block per tile of span_rows queries and head; a warp per row at a time. T is float or bf16.
template <class T>
__global__ void __launch_bounds__(kPrepareThreads) prepare_backward(const BackwardArgs<T> args) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int span_rows = args.span_rows, tokens = args.intervals.tokens;
  const int first = static_cast<int>(blockIdx.x) * span_rows;
  const int head = static_cast<int>(blockIdx.y);
  constexpr int kWidth = kPacket<T>;
  for (int row = first + warp; row < min(first + span_rows, tokens);
       row += kPrepareThreads / kWarp) {
    const T* a = args.dout.at(row, head);
    const T* b = args.o.at(row, head);
    float sum = 0;
    if (args.dout.vector && args.o.vector) {
      for (int c = lane * kWidth; c < args.o.width; c += kWarp * kWidth) {
        const auto x = Packet<T, kWidth>::load(a + c), y = Packet<T, kWidth>::load(b + c);
#pragma unroll
        for (int i = 0; i < kWidth; ++i) sum = fmaf(x.get(i), y.get(i), sum);
      }
    } else {
      for (int c = lane; c < args.o.width; c += kWarp)
        sum = fmaf(to_float(a[c]), to_float(b[c]), sum);
    }
    sum = warp_reduce(sum);
    if (lane == 0) args.delta[static_cast<std::int64_t>(head) * tokens + row] = sum;
  }
  if (head != 0 || warp != 0) return;
  KeySpan span = span_of_warp(args.intervals.at(first + min(lane, span_rows - 1)));
  for (int row = kWarp; row < span_rows; row += kWarp) {
    span = merge(span, span_of_warp(args.intervals.at(first + row + lane)));
  }
  if (lane == 0) args.spans[blockIdx.x] = span;
}

/// First tile from `tile` on whose queries may see a key of [first, last); `tiles` when none.
/// Collective over a warp, the same in every lane.
__device__ __forceinline__ int next_tile(const KeySpan* spans, int tile, int tiles, int first,
                                         int last) {
  for (; tile < tiles; tile += kWarp) {
    const int mine = tile + lane_id();
    const bool meets = mine < tiles && spans[mine].meets(first, last);
    const unsigned found = __ballot_sync(kAllLanes, meets);
    if (found != 0) return tile + __ffs(static_cast<int>(found)) - 1;
  }
  return tiles;
}

}  // namespace strait::kernels::cuda::attention
