#pragma once

#include "kernels/cuda/sm90/schedule.cuh"
#include "kernels/cuda/sm90/staging.cuh"

// Grouped products on Hopper: what a block of the persistent kernel works with. Rows of all experts
// lie behind one another; offsets [experts + 1] in device memory say whose they are. Everything
// that TMA brings is a box of 64 rows and 64 columns.
namespace strait::kernels::cuda::sm90 {

/// What is multiplied: rows by matrices stored [out, in], rows by matrices stored [in, out], or the
/// gradient of the matrices, a^T b over the rows of each expert.
enum class Grouped : int { rows_by_transposed, rows_by_matrix, gradient };

/// Two warpgroups, 64 rows of sums each. Registers allow 256 columns of sums (128 of 232), shared
/// memory four stages (192 KiB of 227). Pairs of blocks that share the loads of one operand took no
/// less time: what passes through L2 is not what limits.
template <Grouped kGrouped_>
struct GroupedTile {
  static constexpr Grouped kGrouped = kGrouped_;
  static constexpr bool kGradient = kGrouped == Grouped::gradient;
  static constexpr int kBox = 64, kBoxBytes = kBox * kPieceRowBytes;
  static constexpr int kGroups = 2, kRows = kGroups * kBox;
  static constexpr int kColumnBoxes = 4, kColumns = kColumnBoxes * kBox;
  static constexpr int kDepth = kBox, kStages = 4;
  static constexpr Along kA = kGradient ? Along::rows : Along::depth;
  static constexpr Along kB = kGrouped == Grouped::rows_by_transposed ? Along::depth : Along::rows;
  static constexpr int kThreads = (1 + kGroups) * kWarpgroup;
  static constexpr int kWarpRows = 16;  // of sums
  static constexpr int kConsumerWarps = kGroups * kWarpgroup / kWarpLanes;
  static constexpr int kConsumerRegisters = 232, kLoaderRegisters = 40;
};

struct GroupedParams {
  CUtensorMap a;               // rows [rows, width]
  CUtensorMap b;               // matrices [rows, experts, width], or rows
  CUtensorMap more_a, more_b;  // products: the term of all experts, one matrix
  CUtensorMap sums;            // gradient in f32, products in bf16: c in boxes of kWarpRows rows
  const int* offsets;
  void* c;                          // products: [rows, columns]; gradient: [experts, rows, columns]
  std::int64_t c_stride, c_expert;  // elements
  ItemCounters* counters;
  int* turns;  // gradient in f32: zeros before a kernel and after it, of a warp of each split tile
  int experts;
  int rows, columns;   // gradient: of a matrix; products: columns alone
  int depth;           // products: width of a
  int more;            // products: width of the term of all experts, or 0
  const int* to;       // products in bf16: rows of c, or null
  const float* scale;  // products in bf16: by rows of c, or null
  bool wide;           // c in f32, else in bf16
  bool add;            // to what is there
  bool lower;          // square results: not above the diagonal, but for what shares its tile
};

/// Tiles of gradients in parts, at most, for each block of the grid.
inline constexpr int kSplitTiles = 3;

/// Depth of an expert's own term in whole steps: that of all experts begins there.
template <class Tile>
__device__ __forceinline__ int own_depth(const GroupedParams& params) {
  return (params.depth + Tile::kDepth - 1) / Tile::kDepth * Tile::kDepth;
}

/// Columns of a tile from `column` on whose first row is `row` of its group's; none or less where
/// nothing of it is wanted.
template <class Tile>
__device__ __forceinline__ int tile_columns(const GroupedParams& params, int row, int column) {
  const int columns = min(Tile::kColumns, params.columns - column);
  return params.lower ? min(columns, row + Tile::kRows - column) : columns;
}

/// A tile of c. expert < 0 ends the kernel.
struct GroupedWork {
  int expert;
  int row = 0, rows = 0;        // first row of c and how many are there
  int column = 0, columns = 0;  // of c
  int depth = 0, depth_end = 0;
  // Of a gradient whose depth is in parts, which are added in order: this one, all, and the tile's
  // place among those in parts.
  int part = 0, parts = 1, split_tile = 0;

  __device__ __forceinline__ int steps() const { return (depth_end - depth + 63) / 64; }
  __device__ __forceinline__ int row_boxes() const { return (rows + 63) / 64; }
  __device__ __forceinline__ int column_boxes() const { return (columns + 63) / 64; }
};

/// 16 rows of 128 bytes of sums on their way out, the chunks of a row permuted as TMA does.
struct alignas(1024) SumsBuffer {
  unsigned char bytes[16 * kPieceRowBytes];
};

template <class Tile>
struct alignas(1024) GroupedShared {
  __nv_bfloat16 a[Tile::kStages][Tile::kRows * Tile::kDepth];
  __nv_bfloat16 b[Tile::kStages][Tile::kColumns * Tile::kDepth];
  SumsBuffer staged[Tile::kConsumerWarps][2];
  RingBarriers<Tile::kStages> ready;
  RingBarriers<Tile::kStages> partial;  // rows of a gradient's last step, before others are cleared
  RingBarriers<2> work_ready;           // emptied in the pair's first block, which claims for both
  Barrier claim;                        // the next tile is to be claimed
  GroupedWork work[2];
};

}  // namespace strait::kernels::cuda::sm90
