#pragma once

#include "kernels/cuda/sm90/grouped_tile.cuh"

// Sums of grouped products from registers to device memory. A warp has 16 rows of 64 kBoxes
// columns.
namespace strait::kernels::cuda::sm90 {

/// Where a warp writes: c at its first row of all and the tile's first column, and how much of the
/// warp's rows and the tile's columns lies inside.
struct SumsPlace {
  void* c;
  std::int64_t stride;
  int rows, columns;
};

/// Which rows of c a warp's rows are.
struct RowsOfC {
  int first = 0;
  const int* to = nullptr;       // where they go, or null
  const float* scale = nullptr;  // by rows of c, or null
  bool add = false;              // to what is there

  __device__ __forceinline__ int at(int row) const { return to ? to[first + row] : first + row; }
};

__device__ __forceinline__ uint4 add_packets(uint4 x, uint4 y) {
  auto* sum = reinterpret_cast<__nv_bfloat162*>(&x);
  const auto* more = reinterpret_cast<const __nv_bfloat162*>(&y);
#pragma unroll
  for (int i = 0; i < 4; ++i) sum[i] = __hadd2(sum[i], more[i]);
  return x;
}

/// Columns 64 box to 64 box + 63, times the scales of a thread's two rows, in bf16.
template <int kCount>
__device__ __forceinline__ void stage_box(SumsBuffer& to, const float (&d)[kCount], int box,
                                          const float (&scale)[2]) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpLanes;
  const std::uint32_t row_at = shared_address(&to) + lane % 16 * kPieceRowBytes;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float* sums = d + 32 * box + 8 * i;
    const int chunk = (2 * i + lane / 16) ^ (lane % 8);
    store_matrices(row_at + (chunk << 4), pack_bf16(scale[0] * sums[0], scale[0] * sums[1]),
                   pack_bf16(scale[1] * sums[2], scale[1] * sums[3]),
                   pack_bf16(scale[0] * sums[4], scale[0] * sums[5]),
                   pack_bf16(scale[1] * sums[6], scale[1] * sums[7]));
  }
}

/// In bf16, whole 16-byte packets of a row at a time, by way of `staged`.
template <int kCount>
__device__ __forceinline__ void store_bf16(const SumsPlace& place, const RowsOfC& rows_of_c,
                                           SumsBuffer& staged, const float (&d)[kCount]) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpLanes;
  if (lane == 0) wait_stores_read();  // a tile before this one may have left by TMA
  float scale[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = lane / 4 + 8 * half;
    scale[half] = rows_of_c.scale && row < place.rows ? rows_of_c.scale[rows_of_c.at(row)] : 1.0f;
  }
  __nv_bfloat16* rows[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int row = 4 * i + lane / 8;
    const int to = row < place.rows ? rows_of_c.at(row) : 0;
    rows[i] = static_cast<__nv_bfloat16*>(place.c) + to * place.stride;
  }
#pragma unroll
  for (int box = 0; box < kCount / 32; ++box) {
    __syncwarp();
    stage_box(staged, d, box, scale);
    __syncwarp();
    const int column = box * kPieceColumns + lane % 8 * 8;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int row = 4 * i + lane / 8;
      const uint4 packet = *reinterpret_cast<const uint4*>(staged.bytes + row * kPieceRowBytes +
                                                           ((lane % 8) ^ (row % 8)) * 16);
      if (row < place.rows && column < place.columns) {
        auto& to = *reinterpret_cast<uint4*>(rows[i] + column);
        to = rows_of_c.add ? add_packets(packet, to) : packet;
      }
    }
  }
}

/// Calls body(element of c, x, y) for each pair of neighbours that lies inside.
template <int kCount, class Body>
__device__ __forceinline__ void for_each_pair(const SumsPlace& place, int first,
                                              const float (&d)[kCount], Body&& body) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpLanes;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = lane / 4 + 8 * half;
    if (row >= place.rows) continue;
    const std::int64_t at = (first + row) * place.stride + lane % 4 * 2;
#pragma unroll
    for (int j = 0; j < kCount / 4; ++j) {
      // Columns come in packets of 8: the whole warp is inside or outside.
      if (8 * j < place.columns) body(at + 8 * j, d[4 * j + 2 * half], d[4 * j + 2 * half + 1]);
    }
  }
}

template <int kCount>
__device__ __forceinline__ void store_f32(const SumsPlace& place, int first,
                                          const float (&d)[kCount]) {
  auto* c = static_cast<float*>(place.c);
  for_each_pair(place, first, d, [&](std::int64_t at, float x, float y) {
    *reinterpret_cast<float2*>(c + at) = float2{x, y};
  });
}

/// Adds to what is there.
template <int kCount>
__device__ __forceinline__ void add_bf16(const SumsPlace& place, int first,
                                         const float (&d)[kCount]) {
  auto* c = static_cast<__nv_bfloat16*>(place.c);
  for_each_pair(place, first, d, [&](std::int64_t at, float x, float y) {
    auto* pair = reinterpret_cast<__nv_bfloat162*>(c + at);
    const float2 old = __bfloat1622float2(*pair);
    *pair = __floats2bfloat162_rn(old.x + x, old.y + y);
  });
}

/// A warp's first row and the tile's first column in a map of c.
struct BoxPlace {
  const CUtensorMap& map;
  int column, row, head;
};

/// Whole warps of rows in bf16 by TMA. The stores go on after it returns.
template <int kCount>
__device__ __forceinline__ void send_bf16(const BoxPlace& place, SumsBuffer (&staged)[2],
                                          int columns, const float (&d)[kCount]) {
  const bool leader = threadIdx.x % kWarpLanes == 0;
  const float scale[2] = {1.0f, 1.0f};
#pragma unroll
  for (int box = 0; box < kCount / 32; ++box) {
    if (box * kPieceColumns >= columns) break;
    // The last tile may have ended with either buffer.
    if (leader) box == 0 ? wait_stores_read<0>() : wait_stores_read<1>();
    __syncwarp();
    stage_box(staged[box % 2], d, box, scale);
    fence_shared_for_async();
    __syncwarp();
    if (leader) {
      store_box(place.map, &staged[box % 2], place.column + box * kPieceColumns, place.row,
                place.head);
      commit_stores();
    }
  }
}

/// In f32 by TMA, which leaves out what lies outside of c: assigned, or added to what is there,
/// where one addition an element and launch keeps the order. The stores go on after it returns.
template <int kCount>
__device__ __forceinline__ void send_f32(const BoxPlace& place, bool add, SumsBuffer (&staged)[2],
                                         int columns, const float (&d)[kCount]) {
  constexpr int kBoxColumns = kPieceRowBytes / 4;
  const int lane = static_cast<int>(threadIdx.x) % kWarpLanes;
#pragma unroll
  for (int box = 0; box < 2 * kCount / kBoxColumns; ++box) {
    if (box * kBoxColumns >= columns) break;
    SumsBuffer& buffer = staged[box % 2];
    // The last tile may have ended with either buffer.
    if (lane == 0) box == 0 ? wait_stores_read<0>() : wait_stores_read<1>();
    __syncwarp();
#pragma unroll
    for (int i = 0; i < kBoxColumns / 2; i += 2) {
      // Columns 8 (i / 4) + 2 (lane % 4) of row lane / 4 + 8 (i / 2 % 2).
      const int row = lane / 4 + i / 2 % 2 * 8, chunk = (i / 4 * 2 + lane % 4 / 2) ^ (row % 8);
      float* to = reinterpret_cast<float*>(buffer.bytes + row * kPieceRowBytes + chunk * 16);
      const int from = box * kBoxColumns / 2 + i;
      *reinterpret_cast<float2*>(to + lane % 2 * 2) = float2{d[from], d[from + 1]};
    }
    fence_shared_for_async();
    __syncwarp();
    if (lane == 0) {
      const int column = place.column + box * kBoxColumns;
      add ? add_box(place.map, &buffer, column, place.row, place.head)
          : store_box(place.map, &buffer, column, place.row, place.head);
      commit_stores();
    }
  }
}

}  // namespace strait::kernels::cuda::sm90
