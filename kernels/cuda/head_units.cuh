#pragma once

#include <algorithm>
#include <cstdint>
#include <string>

#include "kernels/cuda/convert.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/rope.cuh"
#include "kernels/cuda/support.h"

// A warp per token, its heads dealt to groups of lanes. A lane holds units of a head: two packets
// that rotate with each other, or two neighbours where nothing rotates. So the rotation needs no
// exchange between lanes, and a token's angles are worked out once for all its heads.
namespace strait::kernels::cuda {

inline constexpr int kHeadThreads = 128;
inline constexpr int kHeadWarps = kHeadThreads / kWarp;
inline constexpr int kMaxHeadWidth = 256;

/// Units of a lane, so that 32 lanes reach kMaxHeadWidth.
template <int kWidth>
inline constexpr int kHeadUnits = std::max(1, kMaxHeadWidth / (2 * kWarp * kWidth));

/// Heads [T, H, d] in units of two packets; passed by value.
struct HeadCut {
  std::int64_t tokens;
  int heads, width;
  int lanes;  // of a head: a power of two, 32 at most
};

inline HeadCut make_head_cut(const ConstTensor& x, int pairs, int packet) {
  HeadCut cut = {x.shape[0], static_cast<int>(x.shape[1]), static_cast<int>(x.shape[2]), 1};
  const int turned = pairs / packet;
  const auto rest = static_cast<int>(ceil_div(cut.width - 2 * pairs, 2 * packet));
  while (cut.lanes < kWarp && cut.lanes < turned + rest) cut.lanes *= 2;
  return cut;
}

/// Whether heads of `width` channels and their rotated part are whole packets.
inline bool heads_in_packets(const Rope& rope, std::int64_t width, int packet) {
  return rope.dims % (2 * packet) == 0 && width % packet == 0;
}

inline constexpr int kTokensOfWarp = 2;  // to pay for reading the frequencies

inline Grid head_grid(std::int64_t tokens) {
  return {blocks_for(tokens, kHeadWarps * kTokensOfWarp), kHeadThreads};
}

/// The tokens of this warp: first_token(), + token_step(), ...
__device__ inline std::int64_t first_token() {
  return blockIdx.x * static_cast<std::int64_t>(kHeadWarps) + threadIdx.x / kWarp;
}
__device__ inline std::int64_t token_step() {
  return gridDim.x * static_cast<std::int64_t>(kHeadWarps);
}

/// Channels at which the two packets of a unit start. Single channels of an interleaved rope are
/// paired as they rotate; wider packets hold whole pairs.
template <int kWidth>
struct UnitPlace {
  int first, second;
  bool turns;

  __device__ UnitPlace(const RopeTable& table, int unit) {
    const int turned = table.pairs / kWidth;
    turns = unit < turned;
    if (turns && (kWidth > 1 || !table.interleaved)) {
      first = unit * kWidth;
      second = first + table.pairs;
    } else {
      first = turns ? 2 * unit : 2 * (table.pairs + (unit - turned) * kWidth);
      second = first + kWidth;
    }
  }
};

/// Angles of the token of each warp, in shared memory, those that a unit needs apart by what lets
/// lanes with neighbouring units read different banks. The frequencies are copied there first,
/// since lanes that read different constants are served one by one.
template <int kWidth>
class WarpAngles {
 public:
  /// By all threads of the block; ends with a barrier.
  __device__ void start(const RopeTable& table) {
    const int units = table.pairs / kWidth;
    for (int at = threadIdx.x; at < table.pairs; at += blockDim.x) {
      const int unit = at / kChunk % units, i = at / kChunk / units * kChunk + at % kChunk;
      half_turns_[at] = table.half_turns[pair_of(table, unit, i)];
    }
    __syncthreads();
  }

  /// Works out this warp's angles of a position, once all its lanes are done with the last.
  __device__ void fill(std::int32_t position, const RopeTable& table) {
    float2* angles = angles_[threadIdx.x / kWarp];
    __syncwarp();
    for (int at = threadIdx.x % kWarp; at < table.pairs; at += kWarp) {
      angles[at] = rope_angle(position, half_turns_[at]);
    }
    __syncwarp();
  }

  /// The i-th angle of a unit.
  __device__ float2 get(const RopeTable& table, int unit, int i) const {
    const int units = table.pairs / kWidth;
    return angles_[threadIdx.x / kWarp][(i / kChunk * units + unit) * kChunk + i % kChunk];
  }

 private:
  static constexpr int kChunk = kWidth == 1 ? 1 : 2;  // angles in 16 bytes

  static __device__ int pair_of(const RopeTable& table, int unit, int i) {
    if (kWidth == 1 || !table.interleaved) return unit * kWidth + i;
    constexpr int kHalf = kWidth / 2;
    return unit * kHalf + (i < kHalf ? i : table.pairs / 2 + i - kHalf);
  }

  double half_turns_[RopeTable::kMaxPairs];
  float2 angles_[kHeadWarps][RopeTable::kMaxPairs];
};

/// Turns a pair; `sign` is 1, or -1 for the inverse (the gradient).
__device__ inline void turn_pair(float& a, float& b, float2 angle, float sign) {
  const float x = a, y = b;
  a = fmaf(-sign * angle.y, y, x * angle.x);
  b = fmaf(sign * angle.y, x, y * angle.x);
}

/// What turns one unit.
template <int kWidth>
struct UnitAngles {
  float2 angle[kWidth];

  __device__ void load(const WarpAngles<kWidth>& angles, const RopeTable& table, int unit) {
#pragma unroll
    for (int i = 0; i < kWidth; ++i) angle[i] = angles.get(table, unit, i);
  }
};

/// The values of a unit.
template <int kWidth>
struct UnitValues {
  Floats<kWidth> first, second;

  __device__ void turn(const UnitAngles<kWidth>& by, bool interleaved, float sign) {
    if (interleaved && kWidth > 1) {
#pragma unroll
      for (int i = 0; i + 1 < kWidth; i += 2) {
        turn_pair(first[i], first[i + 1], by.angle[i / 2], sign);
        turn_pair(second[i], second[i + 1], by.angle[kWidth / 2 + i / 2], sign);
      }
      return;
    }
#pragma unroll
    for (int i = 0; i < kWidth; ++i) turn_pair(first[i], second[i], by.angle[i], sign);
  }
};

/// A unit as it lies in memory, of which only packets before `width` exist; the others are zero.
template <class T, int kWidth>
struct UnitPackets {
  using P = Packet<T, kWidth>;
  P first, second;

  __device__ void load(const T* head, const UnitPlace<kWidth>& at, int width) {
    first = at.first < width ? P::load(head + at.first) : P{};
    second = at.second < width ? P::load(head + at.second) : P{};
  }
  __device__ UnitValues<kWidth> values() const { return {first.floats(), second.floats()}; }

  __device__ static void store(const UnitValues<kWidth>& values, T* head,
                               const UnitPlace<kWidth>& at, int width) {
    if (at.first < width) P::from(values.first).store(head + at.first);
    if (at.second < width) P::from(values.second).store(head + at.second);
  }
};

/// A unit of the norm's weights.
template <int kWidth>
__device__ UnitValues<kWidth> load_weights(const void* w, bool is_bf16, const UnitPlace<kWidth>& at,
                                           int width) {
  UnitValues<kWidth> values = {};
  if (at.first < width) values.first = load_wide<kWidth>(w, is_bf16, at.first);
  if (at.second < width) values.second = load_wide<kWidth>(w, is_bf16, at.second);
  return values;
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
