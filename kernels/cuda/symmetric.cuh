#pragma once

#include "kernels/cuda/convert.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/matrix_cut.cuh"

// Symmetric matrices [N, m, m] of which one half is known.
namespace strait::kernels::cuda {

/// Side of the square tiles: rows of 128 bytes.
template <class T>
inline constexpr int kSymmetricTile = 128 / static_cast<int>(sizeof(T));

/// Tiles of a matrix on and below the diagonal.
template <class T>
__host__ __device__ unsigned lower_tiles(int side) {
  const auto tiles = static_cast<unsigned>((side + kSymmetricTile<T> - 1) / kSymmetricTile<T>);
  return tiles * (tiles + 1) / 2;
}

/// Row and column, among tiles, of the index-th tile on or below the diagonal.
__device__ inline void find_lower_tile(int index, int& row, int& column) {
  row = static_cast<int>((sqrtf(8.0f * static_cast<float>(index) + 1.0f) - 1.0f) * 0.5f);
  while ((row + 1) * (row + 2) / 2 <= index) ++row;
  while (row * (row + 1) / 2 > index) --row;
  column = index - row * (row + 1) / 2;
}

/// c = values below and on the diagonal and their mirror image above it. values(element, row -
/// column, elements left in the row) gives a packet; Values::kReplaces: not what c holds already. A
/// block per tile and matrix; it alone reads and writes the tile and its image.
template <class T, int kWidth, class Values>
__global__ __launch_bounds__(kCutThreads) void fill_symmetric(const Values values, T* c, int side) {
  constexpr int kTile = kSymmetricTile<T>, kPackets = kTile / kWidth;
  constexpr int kRows = kCutThreads / kPackets;
  __shared__ T tile[kTile][kTile + 4 / sizeof(T)];
  const unsigned tiles = lower_tiles<T>(side), index = blockIdx.x / tiles;
  int tile_row, tile_column;
  find_lower_tile(static_cast<int>(blockIdx.x - index * tiles), tile_row, tile_column);
  const std::int64_t matrix = static_cast<std::int64_t>(index) * side * side;
  const int packet = static_cast<int>(threadIdx.x) % kPackets * kWidth;
  const int first = static_cast<int>(threadIdx.x) / kPackets;
  for (int r = first; r < kTile; r += kRows) {
    const int row = tile_row * kTile + r, column = tile_column * kTile + packet;
    if (row >= side || column >= side) continue;
    const std::int64_t at = matrix + static_cast<std::int64_t>(row) * side + column;
    const Floats<kWidth> y = values(at, row - column, side - column);
    if (Values::kReplaces && tile_row != tile_column) {
      Packet<T, kWidth>::from(y).store(c + at, side - column);
    }
#pragma unroll
    for (int j = 0; j < kWidth; ++j) tile[r][packet + j] = from_float<T>(y[j]);
  }
  __syncthreads();
  for (int r = first; r < kTile; r += kRows) {
    const int row = tile_column * kTile + r, column = tile_row * kTile + packet;
    if (row >= side || column >= side) continue;
    Floats<kWidth> y;
#pragma unroll
    for (int j = 0; j < kWidth; ++j) {
      const bool known = tile_row == tile_column && packet + j <= r;
      y[j] = to_float(known ? tile[r][packet + j] : tile[packet + j][r]);
    }
    Packet<T, kWidth>::from(y).store(c + matrix + static_cast<std::int64_t>(row) * side + column,
                                     side - column);
  }
}

template <class T>
Grid symmetric_grid(const ConstTensor& c) {
  const unsigned tiles = lower_tiles<T>(static_cast<int>(c.shape[1]));
  return {tiles * static_cast<unsigned>(c.shape[0]), kCutThreads};
}

}  // namespace strait::kernels::cuda
