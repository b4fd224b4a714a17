#pragma once

#include <cuda_bf16.h>

#include "kernels/cuda/sm90/backward_plan.cuh"
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

  /// Where a row stands: those that a thread has of 16 columns of scores (wgmma.cuh) together.
  static __device__ __forceinline__ int place_of(int row) {
    return row / 16 * 16 + row % 8 / 2 * 4 + row / 8 % 2 * 2 + row % 2;
  }
  /// Of 16 columns from 16 i on those that a thread has: 2 (lane % 4) + {0, 1, 8, 9}.
  static __device__ __forceinline__ float4 of_thread(const float (&x)[kQueries], int i,
                                                     int thread) {
    return reinterpret_cast<const float4*>(x)[4 * i + thread % 4];
  }
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
  int* turns;                          // [heads, parts, tiles]
  int* claimed;                        // items of the main kernel
  PlanParams plan;
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

inline constexpr int kPrepareThreads = SmallPlan::kThreads;
inline constexpr int kRowLanes = 8;  // lanes that share a row

/// A block per tile of queries and head; with a small plan, one more tile, whose first block plans.
/// Overlaps the plan else.
template <int kQueries, int kKeys>
__global__ void __launch_bounds__(kPrepareThreads)
    prepare_rows(const PrepareParams<kQueries> params) {
  const int tile = static_cast<int>(blockIdx.x), head = static_cast<int>(blockIdx.y);
  const int tiles = params.plan.tiles, parts = params.plan.parts, tokens = params.intervals.tokens;
  if (tile == tiles) {
    __shared__ SmallPlan plan;
    if (head == 0) plan_rows<kKeys, kQueries>(plan, params.plan, params.intervals);
    return;
  }
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
    const int place = stats.place_of(at);
    stats.lse[place] =
        empty ? INFINITY : params.lse[static_cast<std::int64_t>(head) * tokens + row] * kLog2E;
    stats.delta[place] = sum;
    if (head == 0) params.row_spans[tile].row[at] = interval;
  }
  const int part = static_cast<int>(threadIdx.x);
  if (part < parts) params.turns[(head * parts + part) * tiles + tile] = 0;
  if (tile != 0 || head != 0) return;
  if (threadIdx.x == 0) *params.claimed = 0;
  wait_for_last_launch();
}

/// 64 rows of kColumns sums as the threads of a warpgroup hold them, in packets of four registers:
/// columns 8 i + 2 (lane % 4) + {0, 1} of two rows (wgmma.cuh).
template <int kColumns>
struct SumTile {
  static constexpr int kWidth = kColumns;
  float4 packet[kColumns / 8][kWarpgroup];
};

/// Sums in fp32 to bf16 rows: of each head and tile the `parts` that are there, in order.
template <int kColumns>
struct RoundParams {
  const SumTile<kColumns>* sums;  // [heads, parts, tiles, strips]
  // Either: parts that are not 0 in [heads, parts, tiles / per_mark] are there.
  const int* marks;
  // Or, without both all parts are there: as many of each parts_of_head as [tiles / per_mark]
  // tells.
  const int* counts;
  RowPackets to;
  int heads, tiles, strips;  // a tile has 64 rows, a strip kColumns columns
  int rows, parts, parts_of_head, per_mark;
  float scale;

  __host__ __device__ int pieces() const { return heads * tiles * strips; }

  /// Whether the rows of a tile are written already: a head's only part does that itself.
  __device__ __forceinline__ bool done(int tile) const {
    return counts != nullptr && parts == parts_of_head && counts[tile / per_mark] == 1;
  }
  __device__ __forceinline__ bool has(int head, int part, int tile) const {
    const int mark = tile / per_mark;
    if (marks) return marks[(head * parts + part) * (tiles / per_mark) + mark] != 0;
    return counts == nullptr || part % parts_of_head < counts[mark];
  }
};

/// The piece-th tile of a head and strip. A warpgroup.
template <int kColumns>
__device__ __forceinline__ void round_sums(const RoundParams<kColumns>& params, int piece,
                                           __nv_bfloat16* staged) {
  constexpr int kPadded = kColumns + 8, kPackets = kColumns / 8;
  const int strip = piece % params.strips, tile = piece / params.strips % params.tiles;
  const int head = piece / params.strips / params.tiles, thread = static_cast<int>(threadIdx.x);
  const int row = thread / kWarpLanes * 16 + thread % kWarpLanes / 4, column = thread % 4 * 2;
  if (params.done(tile)) return;
  float4 x[kPackets] = {};
  bool there = params.has(head, 0, tile);
#pragma unroll 1
  for (int part = 0; part < params.parts; ++part) {
    const bool adds = there;
    there = part + 1 < params.parts && params.has(head, part + 1, tile);  // read ahead
    if (!adds) continue;
    const auto at = (static_cast<std::int64_t>(head) * params.parts + part) * params.tiles + tile;
    const SumTile<kColumns>& from = params.sums[at * params.strips + strip];
#pragma unroll
    for (int i = 0; i < kPackets; ++i) {
      const float4 y = from.packet[i][thread];
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

/// A block per piece of dq, then of dk and of dv where these are sums of parts (else no pieces).
template <int kQueryColumns, int kKeyWidth, int kValueWidth>
__global__ void __launch_bounds__(kWarpgroup)
    round_gradients(const __grid_constant__ RoundParams<kQueryColumns> dq,
                    const __grid_constant__ RoundParams<kKeyWidth> dk,
                    const __grid_constant__ RoundParams<kValueWidth> dv) {
  static_assert(kQueryColumns <= kKeyWidth);
  constexpr int kWidest = kKeyWidth > kValueWidth ? kKeyWidth : kValueWidth;
  __shared__ __align__(16) __nv_bfloat16 staged[64 * (kWidest + 8)];
  int piece = static_cast<int>(blockIdx.x);
  if (piece < dq.pieces()) return round_sums(dq, piece, staged);
  piece -= dq.pieces();
  if (piece < dk.pieces()) return round_sums(dk, piece, staged);
  round_sums(dv, piece - dk.pieces(), staged);
}

}  // namespace strait::kernels::cuda::sm90
