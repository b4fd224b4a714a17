#pragma once

#include <cstdint>

#include "kernels/cuda/launch.cuh"

// Elementwise work on rows: one thread per packet, the packets of all rows in one sequence.
namespace strait::kernels::cuda {

inline constexpr int kCutThreads = 256;

struct MatrixCut {
  std::int64_t rows;
  std::int64_t packets;  // of a row
  std::int64_t width;

  std::int64_t total() const { return rows * packets; }
};

inline MatrixCut make_cut(std::int64_t rows, std::int64_t width, int packet) {
  return {rows, ceil_div(width, packet), width};
}

inline Grid grid_of(const MatrixCut& cut) {
  return {blocks_for(cut.total(), kCutThreads), kCutThreads};
}

/// This thread's row and packet within it; false past the end. Divides in 32 bits where it can:
/// the wide division costs more than the arithmetic of most ops.
__device__ inline bool find_packet(const MatrixCut& cut, std::int64_t& row, std::int64_t& packet) {
  const std::int64_t index = blockIdx.x * static_cast<std::int64_t>(kCutThreads) + threadIdx.x;
  if (cut.rows * cut.packets <= 0xffffffffll) {
    const unsigned narrow = static_cast<unsigned>(index),
                   count = static_cast<unsigned>(cut.packets);
    row = narrow / count;
    packet = narrow - static_cast<unsigned>(row) * count;
  } else {
    row = index / cut.packets;
    packet = index - row * cut.packets;
  }
  return index < cut.rows * cut.packets;
}

}  // namespace strait::kernels::cuda
