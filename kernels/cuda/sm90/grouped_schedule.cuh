#pragma once

#include <type_traits>

#include "kernels/cuda/sm90/grouped_tile.cuh"

// Which tiles there are and in which order they are handed out. For one whole warp per block.
namespace strait::kernels::cuda::sm90 {

/// Tiles in rows of each expert, 32 experts at a time.
class ExpertTiles {
 public:
  __device__ ExpertTiles(const int* offsets, int experts, int tile_rows, int column_tiles)
      : offsets_(offsets), experts_(experts), tile_rows_(tile_rows), column_tiles_(column_tiles) {
    look_at(0);
  }

  /// Of all experts.
  __device__ int total() {
    int tiles = 0;
    for (int e = lane(); e < experts_; e += kWarpLanes) {
      tiles += (offsets_[e + 1] - offsets_[e] + tile_rows_ - 1) / tile_rows_ * column_tiles_;
    }
    return __reduce_add_sync(kFullWarp, tiles);
  }

  /// Goes to the expert of a tile below total(); tiles must not fall from call to call.
  __device__ __forceinline__ void seek(int tile) {
    while (tile >= base_ + all_) {
      base_ += all_;
      look_at(first_ + kWarpLanes);
    }
    const int before = base_ + through_ - tiles_;
    const unsigned begun = __ballot_sync(kFullWarp, before <= tile && tiles_ > 0);
    const int owner = kWarpLanes - 1 - __clz(static_cast<int>(begun));
    expert = first_ + owner;
    row = __shfl_sync(kFullWarp, begin_, owner);
    row_end = __shfl_sync(kFullWarp, end_, owner);
    index = tile - __shfl_sync(kFullWarp, before, owner);
  }

  int expert, row, row_end;
  int index;  // of the tile among its expert's

 private:
  static __device__ __forceinline__ int lane() {
    return static_cast<int>(threadIdx.x) % kWarpLanes;
  }

  __device__ __forceinline__ void look_at(int first) {
    first_ = first;
    const int e = first + lane();
    begin_ = e < experts_ ? offsets_[e] : 0;
    end_ = e < experts_ ? offsets_[e + 1] : 0;
    tiles_ = (end_ - begin_ + tile_rows_ - 1) / tile_rows_ * column_tiles_;
    through_ = tiles_;
#pragma unroll
    for (int step = 1; step < kWarpLanes; step *= 2) {
      const int lower = __shfl_up_sync(kFullWarp, through_, step);
      if (lane() >= step) through_ += lower;
    }
    all_ = __shfl_sync(kFullWarp, through_, kWarpLanes - 1);
  }

  const int* offsets_;
  int experts_, tile_rows_, column_tiles_;
  int first_ = 0, base_ = 0;           // first expert in sight, tiles before it
  int all_;                            // tiles of the experts in sight
  int begin_, end_, tiles_, through_;  // of this lane's expert: rows, tiles, tiles up to its last
};

/// Tiles of the experts' rows. Inside an expert, bands of rows whose part of a stays in the L2
/// cache; inside a band, columns of c one after the other, so that a part of b is read once.
template <class Tile>
class ProductTiles {
 public:
  __device__ explicit ProductTiles(const GroupedParams& params)
      : params_(params),
        column_tiles_((params.columns + Tile::kColumns - 1) / Tile::kColumns),
        experts_(params.offsets, params.experts, Tile::kRows, column_tiles_) {
    items = experts_.total();
  }

  __device__ __forceinline__ GroupedWork at(int item) {
    experts_.seek(item);
    const int rows = experts_.row_end - experts_.row;
    const int row_tiles = (rows + Tile::kRows - 1) / Tile::kRows;
    const int band = experts_.index / (kBand * column_tiles_), band_row = band * kBand;
    const int band_rows = min(kBand, row_tiles - band_row);
    const int index = experts_.index - band_row * column_tiles_;
    const int row = experts_.row + (band_row + index % band_rows) * Tile::kRows;
    const int column = index / band_rows * Tile::kColumns;
    return {experts_.expert,
            row,
            min(Tile::kRows, experts_.row_end - row),
            column,
            min(Tile::kColumns, params_.columns - column),
            0,
            params_.more > 0 ? own_depth<Tile>(params_) + params_.more : params_.depth};
  }

  int items;

 private:
  static constexpr int kBand = 16;  // 2048 rows

  const GroupedParams& params_;
  int column_tiles_;
  ExpertTiles experts_;
};

/// Tiles of the experts' gradients; those of one expert use the same rows.
template <class Tile>
class GradientTiles {
 public:
  __device__ explicit GradientTiles(const GroupedParams& params)
      : params_(params),
        row_tiles_((params.rows + Tile::kRows - 1) / Tile::kRows),
        tiles_(row_tiles_ * ((params.columns + Tile::kColumns - 1) / Tile::kColumns)) {
    items = tiles_ * params.experts;
  }

  /// No columns where there is nothing to add.
  __device__ __forceinline__ GroupedWork at(int item) {
    const int expert = item / tiles_, index = item % tiles_;
    const int row = index % row_tiles_ * Tile::kRows;
    const int column = index / row_tiles_ * Tile::kColumns;
    const int begin = params_.offsets[expert], end = params_.offsets[expert + 1];
    const int columns = min(Tile::kColumns, params_.columns - column);
    return {expert,
            row,
            min(Tile::kRows, params_.rows - row),
            column,
            params_.add && begin == end ? 0 : columns,
            begin,
            end};
  }

  int items;

 private:
  const GroupedParams& params_;
  int row_tiles_, tiles_;
};

/// The warp that claims tiles, one ahead of those that load: a claim takes longer than a short
/// tile's last steps.
template <class Tile>
__device__ __forceinline__ void schedule_grouped(const GroupedParams& params,
                                                 GroupedShared<Tile>& shared) {
  std::conditional_t<Tile::kGradient, GradientTiles<Tile>, ProductTiles<Tile>> tiles(params);
  ItemQueue queue{params.counters, tiles.items};
  Ring<2> at;
  for (Ring<1> claim;; claim.advance()) {
    if (claim.count > 0) shared.claim.wait(claim.phase() ^ 1);
    GroupedWork work{-1, 0, 0, 0, 0, 0, 0};
    for (int item; work.columns <= 0 && (item = queue.next()) >= 0;) work = tiles.at(item);
    if (work.columns <= 0) work.expert = -1;
    shared.work_ready.wait_empty(at);
    if (threadIdx.x % kWarpLanes == 0) {
      shared.work[at.stage()] = work;
      shared.work_ready.full[at.stage()].arrive();
    }
    at.advance();
    if (work.expert < 0) return;
  }
}

}  // namespace strait::kernels::cuda::sm90
