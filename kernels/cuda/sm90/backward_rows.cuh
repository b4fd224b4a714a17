#pragma once

#include <cuda_bf16.h>

#include "kernels/cuda/sm90/intervals.cuh"
#include "kernels/cuda/sm90/softmax.cuh"

// What goes before and after the backward's products: statistics of the query rows, laid out for
// bulk copies, and the conversion of dq.
namespace strait::kernels::cuda::sm90 {

/// Rows of 8-element packets in a [rows, heads, width] tensor.
struct RowPackets {
  __nv_bfloat16* data;
  std::int64_t row_stride, head_stride;

  __device__ __forceinline__ uint4* at(int row, int head, int packet) const {
    return reinterpret_cast<uint4*>(data + row * row_stride + head * head_stride) + packet;
  }
};

/// Statistics of kQueries rows of one head.
template <int kQueries>
struct alignas(16) RowStats {
  float lse[kQueries];    // base 2; +inf for rows without keys, which makes their weights 0
  float delta[kQueries];  // dout . o
};

/// Intervals of kQueries rows.
template <int kQueries>
struct alignas(16) TileIntervals {
  int2 row[kQueries];
};

template <int kQueries>
struct PrepareParams {
  RowPackets dout, o;
  const float* lse;  // [heads, tokens]
  RowIntervals intervals;
  int value_width;
  RowStats<kQueries>* stats;           // [heads, tiles]
  TileIntervals<kQueries>* row_spans;  // [tiles]
  Span* spans;                         // [tiles]
  int* turns;                          // [heads, tiles]
  int* claimed;                        // items of the main kernel
};

__device__ __forceinline__ float dot_packets(uint4 a, uint4 b) {
  const std::uint32_t x[4] = {a.x, a.y, a.z, a.w}, y[4] = {b.x, b.y, b.z, b.w};
  float sum = 0;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    sum = fmaf(__uint_as_float(x[i] << 16), __uint_as_float(y[i] << 16), sum);
    sum = fmaf(__uint_as_float(x[i] & 0xffff0000u), __uint_as_float(y[i] & 0xffff0000u), sum);
  }
  return sum;
}

inline constexpr int kPrepareThreads = 256;
inline constexpr int kRowLanes = 8;  // lanes that share a row

/// A block per tile of queries and head.
template <int kQueries>
__global__ void __launch_bounds__(kPrepareThreads)
    prepare_rows(const PrepareParams<kQueries> params) {
  const int tile = static_cast<int>(blockIdx.x), head = static_cast<int>(blockIdx.y);
  const int tiles = static_cast<int>(gridDim.x), tokens = params.intervals.tokens;
  const int lane = static_cast<int>(threadIdx.x) % kRowLanes, packets = params.value_width / 8;
  RowStats<kQueries>& stats = params.stats[head * tiles + tile];
#pragma unroll
  for (int i = 0; i < kQueries; i += kPrepareThreads / kRowLanes) {
    const int at = i + static_cast<int>(threadIdx.x) / kRowLanes, row = tile * kQueries + at;
    float sum = 0;
    if (row < tokens) {
      for (int p = lane; p < packets; p += kRowLanes) {
        sum += dot_packets(*params.dout.at(row, head, p), *params.o.at(row, head, p));
      }
    }
#pragma unroll
    for (int step = kRowLanes / 2; step > 0; step /= 2) {
      sum += __shfl_xor_sync(kFullWarp, sum, step);
    }
    if (lane != 0) continue;
    const int2 interval = params.intervals.at(row);
    const bool empty = interval.x >= interval.y;
    stats.lse[at] =
        empty ? INFINITY : params.lse[static_cast<std::int64_t>(head) * tokens + row] * kLog2E;
    stats.delta[at] = sum;
    if (head == 0) params.row_spans[tile].row[at] = interval;
  }
  if (threadIdx.x == 0) params.turns[head * tiles + tile] = 0;
  if (head != 0 || threadIdx.x >= kWarpLanes) return;
  const Span span = span_of_rows<kQueries>(params.intervals, tile * kQueries);
  if (threadIdx.x != 0) return;
  params.spans[tile] = span;
  if (tile == 0) *params.claimed = 0;
}

/// 64 rows of kColumns sums as the threads of a warpgroup hold them, in packets of four registers:
/// columns 8 i + 2 (lane % 4) + {0, 1} of two rows (wgmma.cuh).
template <int kColumns>
struct SumTile {
  float4 packet[kColumns / 8][kWarpgroup];
};

/// Sums in fp32 to bf16 rows. They lie in [heads, parts, tiles, columns / kColumns] tiles, of which
/// `parts` are added up in order.
template <int kColumns>
struct RoundParams {
  const SumTile<kColumns>* sums;
  const Span* spans;  // of span_tiles tiles each; absent, or an empty one's are zero without sums
  RowPackets to;
  int rows, parts, span_tiles;
  float scale;
};

/// A block per tile, head and kColumns columns.
template <int kColumns>
__global__ void __launch_bounds__(kWarpgroup) round_sums(const RoundParams<kColumns> params) {
  constexpr int kPadded = kColumns + 8, kPackets = kColumns / 8;
  __shared__ __align__(16) __nv_bfloat16 staged[64 * kPadded];
  const int tile = static_cast<int>(blockIdx.x), head = static_cast<int>(blockIdx.y);
  const int strip = static_cast<int>(blockIdx.z), strips = static_cast<int>(gridDim.z);
  const int thread = static_cast<int>(threadIdx.x), stride = static_cast<int>(gridDim.x) * strips;
  const int row = thread / kWarpLanes * 16 + thread % kWarpLanes / 4, column = thread % 4 * 2;
  const auto* from =
      params.sums + static_cast<std::int64_t>(head) * params.parts * stride + tile * strips + strip;
  const bool empty = params.spans != nullptr && params.spans[tile / params.span_tiles].empty();
  float4 x[kPackets] = {};
#pragma unroll 1
  for (int part = 0; part < (empty ? 0 : params.parts); ++part) {
#pragma unroll
    for (int i = 0; i < kPackets; ++i) {
      const float4 y = from[part * stride].packet[i][thread];
      x[i] = {x[i].x + y.x, x[i].y + y.y, x[i].z + y.z, x[i].w + y.w};
    }
  }
#pragma unroll
  for (int i = 0; i < kPackets; ++i) {
    auto* to = staged + row * kPadded + 8 * i + column;
    *reinterpret_cast<std::uint32_t*>(to) = pack_bf16(x[i].x * params.scale, x[i].y * params.scale);
    *reinterpret_cast<std::uint32_t*>(to + 8 * kPadded) =
        pack_bf16(x[i].z * params.scale, x[i].w * params.scale);
  }
  __syncthreads();
  for (int i = thread; i < 64 * kPackets; i += kWarpgroup) {
    const int at = i / kPackets, packet = i % kPackets;
    if (tile * 64 + at >= params.rows) break;
    *params.to.at(tile * 64 + at, head, strip * kPackets + packet) =
        *reinterpret_cast<const uint4*>(staged + at * kPadded + 8 * packet);
  }
}

}  // namespace strait::kernels::cuda::sm90
