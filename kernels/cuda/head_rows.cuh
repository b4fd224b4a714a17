#pragma once

#include <algorithm>
#include <cstdint>
#include <string>

#include "kernels/cuda/convert.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/rope.cuh"
#include "kernels/cuda/support.h"

// Heads [T, H, d] dealt to groups of lanes, several heads to a warp. A block takes tiles of tokens
// with all their heads, so that the angles of a token are worked out once.
namespace strait::kernels::cuda {

inline constexpr int kHeadThreads = 256;
inline constexpr int kMaxHeadWidth = 256;
inline constexpr int kMaxTileAngles = 1024;  // tokens of a tile times pairs

/// Packets per lane, so that 32 lanes reach kMaxHeadWidth.
template <int kWidth>
inline constexpr int kHeadPackets = kMaxHeadWidth / (kWarp * kWidth);

/// The cut of one launch; passed by value.
struct HeadTiles {
  std::int64_t tokens;
  int heads, width;
  int lanes;  // of a group: a power of two
  int tile;   // tokens
};

/// Positions in shared memory are spread so that lanes with a packet each meet no bank twice.
template <int kWidth>
__host__ __device__ constexpr int spread(int c) {
  return kWidth == 1 ? c : c + c / kWidth;
}

/// Floats of the rows of a block's groups, and angles of its tile.
template <int kWidth>
inline constexpr int kStage = kHeadThreads* kHeadPackets<kWidth>*(kWidth == 1 ? 1 : kWidth + 1);
template <int kWidth>
inline constexpr int kAngles = spread<kWidth>(kMaxTileAngles);

inline HeadTiles make_head_tiles(const ConstTensor& x, int pairs, int packet) {
  HeadTiles tiles = {};
  tiles.tokens = x.shape[0];
  tiles.heads = static_cast<int>(x.shape[1]);
  tiles.width = static_cast<int>(x.shape[2]);
  const std::int64_t packets = ceil_div(tiles.width, packet);
  tiles.lanes = 1;
  while (tiles.lanes < kWarp && tiles.lanes < packets) tiles.lanes *= 2;
  // Four rounds of heads for every group pay for the barrier around the angles.
  const std::int64_t rounds = ceil_div(4 * kHeadThreads / tiles.lanes, std::max(tiles.heads, 1));
  tiles.tile =
      static_cast<int>(std::clamp<std::int64_t>(rounds, 1, kMaxTileAngles / std::max(pairs, 1)));
  return tiles;
}

inline std::int64_t tile_count(const HeadTiles& tiles) {
  return ceil_div(tiles.tokens, tiles.tile);
}

/// Angles of the tile's tokens, [tile, pairs] in shared memory; barriers around it are the
/// caller's.
template <int kWidth>
__device__ void fill_angles(const RopeTable& table, const std::int32_t* positions,
                            std::int64_t begin, std::int64_t tokens, float2* angles) {
  for (int i = threadIdx.x; i < tokens * table.pairs; i += kHeadThreads) {
    const int token = i / table.pairs, pair = i - token * table.pairs;
    angles[token * spread<kWidth>(table.pairs) + spread<kWidth>(pair)] =
        rope_angle(positions[begin + token], table.half_turns[pair]);
  }
}

/// Rotates the packet at channel c of a head whose channels lie in `row` (spread); channels that do
/// not rotate come back as they are. Packets of several channels need both halves of the rotated
/// part, or its pairs when interleaved, to be whole packets.
template <int kWidth>
__device__ void rotate(Floats<kWidth>& x, int c, const float* row, const float2* angles, int pairs,
                       bool interleaved, float sign) {
  if (c >= 2 * pairs) return;
  const int partner = interleaved ? (kWidth == 1 ? c ^ 1 : c) : rope_partner(c, pairs, false);
  const float* other = row + spread<kWidth>(partner);
  const float2* angle = angles + spread<kWidth>(rope_pair(c, pairs, interleaved));
#pragma unroll
  for (int j = 0; j < kWidth; ++j) {
    if (interleaved) {
      const float value = other[kWidth == 1 ? 0 : j ^ 1];
      x[j] = rope_turn(c + j, pairs, true, x[j], value, angle[j / 2], sign);
    } else {
      x[j] = rope_turn(c, pairs, false, x[j], other[j], angle[j], sign);
    }
  }
}

/// Shows a group its head: every lane's packets into `row`, for rotate() to read partners from.
/// Between two heads the warp has to meet once more.
template <int kWidth, int kKeep>
__device__ void put_row(const Floats<kWidth> (&v)[kKeep], float* row, int lane, int lanes) {
#pragma unroll
  for (int i = 0; i < kKeep; ++i) {
    float* at = row + spread<kWidth>((lane + i * lanes) * kWidth);
#pragma unroll
    for (int j = 0; j < kWidth; ++j) at[j] = v[i][j];
  }
  __syncwarp();
}

/// Whether heads of this rope can be handled in packets of `packet` channels.
inline bool rope_in_packets(const Rope& rope, int packet) {
  return rope.dims % (rope.interleaved ? packet : 2 * packet) == 0;
}

inline std::string unsupported_heads(const char* field, const ConstTensor& x, const Rope& rope) {
  if (std::string why = unsupported_compute(field, x); !why.empty()) return why;
  if (x.shape[2] > kMaxHeadWidth) {
    return std::string(field) + ": heads of at most " + std::to_string(kMaxHeadWidth) +
           " channels, got " + x.shape_string() + "; lower the head dim";
  }
  return unsupported_rope(rope);
}

}  // namespace strait::kernels::cuda
