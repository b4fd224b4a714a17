#pragma once

#include "kernels/cuda/mma_tile.cuh"

// Products of many experts in one launch. Group sizes live on the device: every block finds its
// tile from the offsets, blocks beyond the last tile leave.
namespace strait::kernels::cuda::grouped {

/// c = a op(b), or with weight gradients c = a^T b, per expert; += with `accumulate`. Strides in
/// elements.
template <class T>
struct Args {
  const T* a;
  const T* b;
  void* c;                // T or float
  const int* offsets;     // [experts + 1]
  const int* to;          // products: rows of c, or null
  const float* scale;     // products: by rows of c, or null
  std::int64_t a_stride;  // between rows
  std::int64_t b_stride, b_expert;
  std::int64_t c_stride, c_expert;
  int experts;
  int rows, columns;  // of a weight gradient; columns of c otherwise
  int depth;          // of a product that is no weight gradient
  bool trans_b;       // b is [column][depth]
  bool accumulate;    // adds to what is there
  bool c_bf16;
  bool vector;   // 16-byte reads of a and b
  bool c_pairs;  // c can be accessed two elements at a time
};

/// The part of the problem a block works on, in rows and columns of c of one expert. `depth_row` is
/// where a weight gradient's depth begins in a and b.
struct Problem {
  int expert, row, row_end, column, column_end, depth_row, depth;
};

/// Row tile `tile` over all experts, cut into kRows rows from each expert's first. Collective over
/// a warp. False when there are fewer tiles.
template <int kRows, class T>
__device__ __forceinline__ bool find_rows(const Args<T>& args, int tile, Problem& problem) {
  const int lane = lane_id();
  int before = 0;
  for (int base = 0; base < args.experts; base += kWarp) {
    const int expert = base + lane;
    const int begin = expert < args.experts ? args.offsets[expert] : 0;
    const int end = expert < args.experts ? args.offsets[expert + 1] : 0;
    int tiles = (end - begin + kRows - 1) / kRows;
    const int own = tiles;
#pragma unroll
    for (int step = 1; step < kWarp; step *= 2) {
      const int lower = __shfl_up_sync(kAllLanes, tiles, step);
      if (lane >= step) tiles += lower;
    }
    const unsigned beyond = __ballot_sync(kAllLanes, before + tiles > tile);
    if (beyond != 0) {
      const int found = __ffs(static_cast<int>(beyond)) - 1;
      const int first_tile = before + __shfl_sync(kAllLanes, tiles - own, found);
      problem.expert = base + found;
      problem.row = __shfl_sync(kAllLanes, begin, found) + (tile - first_tile) * kRows;
      problem.row_end = __shfl_sync(kAllLanes, end, found);
      return true;
    }
    before += __shfl_sync(kAllLanes, tiles, kWarp - 1);
  }
  return false;
}

/// Grid of products: x = column tiles fastest, then row tiles of all experts. Of weight gradients:
/// x = tiles of one expert's matrix, y = experts.
template <bool kWeightGrad, int kRows, int kColumns, class T>
__device__ __forceinline__ bool find_problem(const Args<T>& args, Problem& problem) {
  const int column_tiles = (args.columns + kColumns - 1) / kColumns;
  const int row_tile = static_cast<int>(blockIdx.x) / column_tiles;
  problem.column = static_cast<int>(blockIdx.x) % column_tiles * kColumns;
  problem.column_end = args.columns;
  if constexpr (kWeightGrad) {
    problem.expert = static_cast<int>(blockIdx.y);
    problem.row = row_tile * kRows;
    problem.row_end = args.rows;
    problem.depth_row = args.offsets[problem.expert];
    problem.depth = args.offsets[problem.expert + 1] - problem.depth_row;
    return problem.depth > 0 || !args.accumulate;
  } else {
    problem.depth_row = 0;
    problem.depth = args.depth;
    return find_rows<kRows>(args, row_tile, problem);
  }
}

/// Writes two neighbouring elements of a row of c, the second when inside.
template <class T>
__device__ __forceinline__ void store_pair(const Args<T>& args, std::int64_t offset, float first,
                                           float second, bool both) {
  if (args.c_bf16) {
    bf16* c = static_cast<bf16*>(args.c) + offset;
    if (args.accumulate) {
      first += __bfloat162float(c[0]);
      if (both) second += __bfloat162float(c[1]);
    }
    if (both && args.c_pairs) {
      *reinterpret_cast<std::uint32_t*>(c) = pack_bf16(first, second);
    } else {
      c[0] = __float2bfloat16_rn(first);
      if (both) c[1] = __float2bfloat16_rn(second);
    }
    return;
  }
  float* c = static_cast<float*>(args.c) + offset;
  if (both && args.c_pairs) {
    float2& to = *reinterpret_cast<float2*>(c);
    const float2 old = args.accumulate ? to : float2{0, 0};
    to = float2{first + old.x, second + old.y};
  } else {
    c[0] = first + (args.accumulate ? c[0] : 0.0f);
    if (both) c[1] = second + (args.accumulate ? c[1] : 0.0f);
  }
}

/// Where row `row` of the problem goes in c, from problem.column on, and what multiplies it.
struct RowPlace {
  std::int64_t offset;
  float scale;
};

template <bool kWeightGrad, class T>
__device__ __forceinline__ RowPlace place_of_row(const Args<T>& args, const Problem& problem,
                                                 int row) {
  const std::int64_t expert = kWeightGrad ? problem.expert * args.c_expert : 0;
  std::int64_t to = problem.row + row;
  if (!kWeightGrad && args.to) to = args.to[to];
  return {expert + to * args.c_stride + problem.column,
          !kWeightGrad && args.scale ? args.scale[to] : 1.0f};
}

inline constexpr int kThreads = 128;  // 2 x 2 warps of 64 x 64
inline constexpr int kRows = 128, kColumns = 128, kDepth = 64;
inline constexpr int kStages = 3;
inline constexpr int kSharedBytes = 2 * kStages * kDepth * (kRows + kColumns);

/// Tiles of one step of depth in shared memory. Operands lie as in global memory: [row][depth] or
/// [depth][row], and so for columns.
template <bool kWeightGrad, bool kTransB>
struct Stage {
  static constexpr bool kDepthMajorA = kWeightGrad, kDepthMajorB = !kTransB;
  Tile<kDepthMajorA ? kRows : kDepth> a;
  Tile<kDepthMajorB ? kColumns : kDepth> b;

  __device__ Stage(unsigned char* memory, int stage) {
    a.data = reinterpret_cast<bf16*>(memory) + stage * kDepth * (kRows + kColumns);
    b.data = a.data + kDepth * kRows;
  }

  /// Asynchronous: the caller commits and waits.
  __device__ __forceinline__ void fetch(const Args<bf16>& args, const Problem& problem,
                                        int depth) const {
    const int rows = problem.row_end - problem.row;
    const int columns = problem.column_end - problem.column, left = problem.depth - depth;
    const std::int64_t depth_row = problem.depth_row + depth;
    if constexpr (kDepthMajorA) {
      const bf16* from = args.a + depth_row * args.a_stride + problem.row;
      load_tile<kDepth, kThreads>(a, {from, args.a_stride, left, rows, args.vector});
    } else {
      const bf16* from = args.a + problem.row * args.a_stride + depth;
      load_tile<kRows, kThreads>(a, {from, args.a_stride, rows, left, args.vector});
    }
    const bf16* matrix = args.b + (kWeightGrad ? 0 : problem.expert * args.b_expert);
    if constexpr (kDepthMajorB) {
      const bf16* from = matrix + depth_row * args.b_stride + problem.column;
      load_tile<kDepth, kThreads>(b, {from, args.b_stride, left, columns, args.vector});
    } else {
      const bf16* from = matrix + problem.column * args.b_stride + depth;
      load_tile<kColumns, kThreads>(b, {from, args.b_stride, columns, left, args.vector});
    }
  }

  /// sums += the warp's 64 rows from `row` times its 64 columns from `column`.
  __device__ __forceinline__ void multiply(float (&sums)[4][8][4], int row, int column) const {
#pragma unroll
    for (int k = 0; k < kDepth / 16; ++k) {
      std::uint32_t fa[4][4];
#pragma unroll
      for (int m = 0; m < 4; ++m) {
        if constexpr (kDepthMajorA) {
          load_a_transposed(fa[m], a, 16 * k, row / 8 + 2 * m);
        } else {
          load_a(fa[m], a, row + 16 * m, 2 * k);
        }
      }
#pragma unroll
      for (int n = 0; n < 4; ++n) {
        std::uint32_t fb[4];
        if constexpr (kDepthMajorB) {
          load_b_transposed(fb, b, 16 * k, column / 8 + 2 * n);
        } else {
          load_b(fb, b, column + 16 * n, 2 * k);
        }
#pragma unroll
        for (int m = 0; m < 4; ++m) {
          mma_bf16(sums[m][2 * n], fa[m], fb[0], fb[1]);
          mma_bf16(sums[m][2 * n + 1], fa[m], fb[2], fb[3]);
        }
      }
    }
  }
};

template <bool kWeightGrad, bool kTransB>
__global__ void __launch_bounds__(kThreads, 2) product_kernel(const Args<bf16> args) {
  extern __shared__ __align__(128) unsigned char memory[];
  using Stage = grouped::Stage<kWeightGrad, kTransB>;
  Problem problem;
  if (!find_problem<kWeightGrad, kRows, kColumns>(args, problem)) return;
  const int row = warp_id() / 2 * 64, column = warp_id() % 2 * 64;
  const int steps = (problem.depth + kDepth - 1) / kDepth;

  // Fill all stages but one.
#pragma unroll
  for (int s = 0; s < kStages - 1; ++s) {
    if (s < steps) Stage(memory, s).fetch(args, problem, s * kDepth);
    cp_async_commit();
  }
  float sums[4][8][4] = {};
  for (int step = 0; step < steps; ++step) {
    // The stage read last is free once all warps are here: refill it, then multiply.
    cp_async_wait<kStages - 2>();
    __syncthreads();
    const int ahead = step + kStages - 1;
    if (ahead < steps) Stage(memory, ahead % kStages).fetch(args, problem, ahead * kDepth);
    cp_async_commit();
    Stage(memory, step % kStages).multiply(sums, row, column);
  }

  // Store.
  const int lane = lane_id();
#pragma unroll
  for (int m = 0; m < 4; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int r = row + 16 * m + 8 * half + lane / 4;
      if (problem.row + r >= problem.row_end) continue;
      const RowPlace place = place_of_row<kWeightGrad>(args, problem, r);
#pragma unroll
      for (int n = 0; n < 8; ++n) {
        const int c = column + 8 * n + 2 * (lane % 4),
                  left = problem.column_end - problem.column - c;
        if (left <= 0) continue;
        store_pair(args, place.offset + c, place.scale * sums[m][n][2 * half],
                   place.scale * sums[m][n][2 * half + 1], left > 1);
      }
    }
  }
}

}  // namespace strait::kernels::cuda::grouped
