#pragma once

#include <type_traits>

#include "kernels/cuda/sm90/grouped_tile.cuh"

// Which tiles there are and in which order they are handed out. For one whole warp per block.
namespace strait::kernels::cuda::sm90 {

__device__ __forceinline__ int lane() {
  return static_cast<int>(threadIdx.x) % kWarpLanes;
}

/// Sum of `value` over the lanes of the warp up to this one.
__device__ __forceinline__ int sum_through_lane(int value) {
#pragma unroll
  for (int step = 1; step < kWarpLanes; step *= 2) {
    const int lower = __shfl_up_sync(kFullWarp, value, step);
    if (lane() >= step) value += lower;
  }
  return value;
}

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
  __device__ __forceinline__ void look_at(int first) {
    first_ = first;
    const int e = first + lane();
    begin_ = e < experts_ ? offsets_[e] : 0;
    end_ = e < experts_ ? offsets_[e + 1] : 0;
    tiles_ = (end_ - begin_ + tile_rows_ - 1) / tile_rows_ * column_tiles_;
    through_ = sum_through_lane(tiles_);
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
    const int own_row = (band_row + index % band_rows) * Tile::kRows;
    const int row = experts_.row + own_row, column = index / band_rows * Tile::kColumns;
    return {experts_.expert,
            row,
            min(Tile::kRows, experts_.row_end - row),
            column,
            tile_columns<Tile>(params_, own_row, column),
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

/// The depth of experts in parts, so that tiles of an expert with most of the rows keep more blocks
/// busy than it has tiles. How many parts follows from the rows alone. 32 experts at a time.
class ExpertParts {
 public:
  /// `tiles` of an expert; of all experts at most kSplitTiles a block of the grid are in parts.
  __device__ ExpertParts(const int* offsets, int experts, int tiles, bool splits)
      : offsets_(offsets), experts_(experts), tiles_(tiles), most_steps_(1 << 30) {
    const int steps = (offsets[experts] + kDepth - 1) / kDepth;
    if (splits) {
      const int fair = (steps + experts - 1) / experts;
      const std::int64_t all = static_cast<std::int64_t>(steps) * tiles;
      const int share = kSplitTiles * static_cast<int>(gridDim.x);
      most_steps_ = max(max(1, fair + fair / 2), static_cast<int>((all + share - 1) / share));
    }
    look_at(0);
  }

  /// Items of all experts.
  __device__ int total() {
    int items = 0;
    for (int e = lane(); e < experts_; e += kWarpLanes) items += parts_of(e) * tiles_;
    return __reduce_add_sync(kFullWarp, items);
  }

  /// Goes to an item below total(); items must not fall from call to call. All tiles of a part come
  /// before those of the next.
  __device__ __forceinline__ void seek(int item) {
    while (item >= base_ + all_) {
      base_ += all_;
      split_before_ += __popc(__ballot_sync(kFullWarp, parts_ > 1));
      look_at(first_ + kWarpLanes);
    }
    const int before = base_ + through_ - parts_ * tiles_;
    const unsigned begun = __ballot_sync(kFullWarp, before <= item && parts_ > 0);
    const int owner = kWarpLanes - 1 - __clz(static_cast<int>(begun));
    const int index = item - __shfl_sync(kFullWarp, before, owner);
    const unsigned split = __ballot_sync(kFullWarp, parts_ > 1);
    expert = first_ + owner;
    parts = __shfl_sync(kFullWarp, parts_, owner);
    part = index / tiles_;
    tile = index % tiles_;
    split_tile = (split_before_ + __popc(split & ((1u << owner) - 1))) * tiles_ + tile;
    const int begin = offsets_[expert], end = offsets_[expert + 1];
    const int rows = ((end - begin + kDepth - 1) / kDepth + parts - 1) / parts * kDepth;
    row = begin + part * rows;
    row_end = max(row, min(end, row + rows));
  }

  int expert, part, parts;
  int tile;        // of the expert's
  int split_tile;  // of all that are in parts, where parts > 1
  int row, row_end;

 private:
  static constexpr int kDepth = 64;

  __device__ __forceinline__ int parts_of(int e) const {
    if (e >= experts_) return 0;
    const int steps = (offsets_[e + 1] - offsets_[e] + kDepth - 1) / kDepth;
    return max(1, (steps + most_steps_ - 1) / most_steps_);
  }

  __device__ __forceinline__ void look_at(int first) {
    first_ = first;
    parts_ = parts_of(first + lane());
    through_ = sum_through_lane(parts_ * tiles_);
    all_ = __shfl_sync(kFullWarp, through_, kWarpLanes - 1);
  }

  const int* offsets_;
  int experts_, tiles_;
  int most_steps_;            // of a part
  int first_ = 0, base_ = 0;  // first expert in sight, items before it
  int split_before_ = 0;      // experts in parts before it
  int all_;                   // items of the experts in sight
  int parts_, through_;       // of this lane's expert: parts, items up to its last
};

/// Tiles of the experts' gradients; those of one expert use the same rows.
template <class Tile>
class GradientTiles {
 public:
  __device__ explicit GradientTiles(const GroupedParams& params)
      : params_(params),
        row_tiles_((params.rows + Tile::kRows - 1) / Tile::kRows),
        parts_(params.offsets, params.experts,
               row_tiles_ * ((params.columns + Tile::kColumns - 1) / Tile::kColumns),
               params.wide && params.turns) {
    items = parts_.total();
  }

  /// No columns where there is nothing to add.
  __device__ __forceinline__ GroupedWork at(int item) {
    parts_.seek(item);
    const int row = parts_.tile % row_tiles_ * Tile::kRows;
    const int column = parts_.tile / row_tiles_ * Tile::kColumns;
    const int columns = tile_columns<Tile>(params_, row, column);
    const bool nothing = params_.add && parts_.row == parts_.row_end && parts_.parts == 1;
    return {parts_.expert,
            row,
            min(Tile::kRows, params_.rows - row),
            column,
            nothing ? 0 : columns,
            parts_.row,
            parts_.row_end,
            parts_.part,
            parts_.parts,
            parts_.split_tile};
  }

  int items;

 private:
  const GroupedParams& params_;
  int row_tiles_;
  ExpertParts parts_;
};

/// The warp that claims tiles, one ahead of those that load: a claim takes longer than a short
/// tile's last steps.
template <class Tile>
__device__ __forceinline__ void schedule_grouped(const GroupedParams& params,
                                                 GroupedShared<Tile>& shared) {
  std::conditional_t<Tile::kGradient, GradientTiles<Tile>, ProductTiles<Tile>> tiles(params);
  // Parts of a depth wait for those before them, which no block may hold that has not started: of
  // gradients even the first item is claimed.
  const int first = Tile::kGradient ? static_cast<int>(gridDim.x) : 0;
  ItemQueue queue{params.counters, first + tiles.items, Tile::kGradient};
  Ring<2> at;
  for (Ring<1> claim;; claim.advance()) {
    if (claim.count > 0) shared.claim.wait(claim.phase() ^ 1);
    GroupedWork work{.expert = -1};
    for (int item; work.columns <= 0 && (item = queue.next()) >= 0;) {
      work = tiles.at(item - first);
    }
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
