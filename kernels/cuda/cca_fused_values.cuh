#pragma once

#include "kernels/cuda/cca_fused.cuh"
#include "kernels/cuda/cca_values.cuh"

// The value shift inside the fused kernels: every block moves a share of its tiles' values, 16
// bytes at a time, through shared memory while it works on the tile.
namespace strait::kernels::cuda::cca {

/// A tile has at most 64 rows of 16 G units for 2 G heads or more: 512 units a head.
inline constexpr int kMaxShare = 512, kSlots = kMaxShare / kWarpgroup;

/// A warpgroup's units of a tile on their way; no thread touches another's.
struct ValueSlots {
  uint4 unit[kSlots][kWarpgroup];
};

/// Units that each of the heads moves of a tile.
inline int value_share(const ValueArgs& args, int heads) {
  return static_cast<int>(ceil_div(kTile * (args.current_width + args.delayed_width), heads));
}

/// Where a unit of v lies, the same for every tile: its row there (kTile behind the last unit), its
/// place in the row, and its offset from the tile's first row in its half of the values.
struct ValueUnit {
  std::int16_t row, c;
  int half;
};

struct ValueUnits {
  ValueUnit of[kMaxShare];

  __device__ void fill(const ValueArgs& args, int share, int head) {
    const int width = args.current_width + args.delayed_width;
    for (int i = threadIdx.x; i < kMaxShare; i += blockDim.x) {
      const int index = head * share + i, row = i < share ? min(index / width, kTile) : kTile;
      const int c = index % width, back = c - args.current_width;
      const int half = back < 0 ? row * static_cast<int>(args.current_stride) + c
                                : row * static_cast<int>(args.delayed_stride) + back;
      of[i] = {static_cast<std::int16_t>(row), static_cast<std::int16_t>(c), half};
    }
  }
};

__device__ __forceinline__ bool is_delayed(const ValueArgs& args, const ValueUnit& unit) {
  return unit.c >= args.current_width;
}

/// The tensors' rows from the tile's first on.
struct ValueRows {
  uint4 *current, *delayed, *values;
  int stride;  // of values

  __device__ ValueRows(const ValueArgs& args, const TileSpot& at) {
    const std::int64_t token = static_cast<std::int64_t>(at.chunk) * args.chunk_rows + at.first;
    current = static_cast<uint4*>(args.current) + token * args.current_stride;
    delayed = static_cast<uint4*>(args.delayed) + token * args.delayed_stride;
    values = static_cast<uint4*>(args.values) + token * args.values_stride;
    stride = static_cast<int>(args.values_stride);
  }

  __device__ uint4* whole(const ValueUnit& unit) const {
    return values + (unit.row * stride + unit.c);
  }
};

/// The delayed unit of the row before a chunk.
__device__ __forceinline__ uint4* halo_unit(const ValueArgs& args, const TileSpot& at,
                                            const ValueUnit& unit) {
  const int row = unit.row * static_cast<int>(args.delayed_stride);
  return static_cast<uint4*>(args.halo) + at.chunk * args.halo_stride + (unit.half - row);
}

/// Whether the first row of the tile's chunk continues a document.
__device__ __forceinline__ bool continues(const ValueArgs& args, const TileSpot& at) {
  return args.halo && args.doc_pos[static_cast<std::int64_t>(at.chunk) * args.chunk_rows] > 0;
}

/// Starts reading the values that a head's units of v are made of.
__device__ __forceinline__ void load_shifted(const ValueArgs& args, const TileSpot& at,
                                             const TileFacts& facts, const ValueUnits& units,
                                             ValueSlots& slots) {
  const ValueRows rows(args, at);
  const int thread = group_thread(), before = static_cast<int>(args.delayed_stride);
#pragma unroll
  for (int s = 0; s < kSlots; ++s) {
    const ValueUnit unit = units.of[s * kWarpgroup + thread];
    if (unit.row >= at.rows) continue;
    const bool delayed = is_delayed(args, unit);
    const uint4* from = delayed ? rows.delayed + (unit.half - before) : rows.current + unit.half;
    bool valid = !delayed || facts.reaches(unit.row, 1);
    if (delayed && at.first + unit.row == 0) {
      valid = continues(args, at);
      from = halo_unit(args, at, unit);
    }
    cp_async_16(&slots.unit[s][thread], valid ? from : args.values, valid);
  }
  cp_async_commit();
}

/// Writes them. The copies have been waited for.
__device__ __forceinline__ void store_shifted(const ValueArgs& args, const TileSpot& at,
                                              const ValueUnits& units, const ValueSlots& slots) {
  const ValueRows rows(args, at);
  const int thread = group_thread();
#pragma unroll
  for (int s = 0; s < kSlots; ++s) {
    const ValueUnit unit = units.of[s * kWarpgroup + thread];
    if (unit.row < at.rows) *rows.whole(unit) = slots.unit[s][thread];
  }
}

/// Starts reading the gradients that a head's units of dv_cur and dv_del are made of. The tile may
/// begin in the halo.
__device__ __forceinline__ void load_unshifted(const ValueArgs& args, const TileSpot& at,
                                               const TileFacts& facts, const ValueUnits& units,
                                               ValueSlots& slots) {
  const ValueRows rows(args, at);
  const int thread = group_thread();
#pragma unroll
  for (int s = 0; s < kSlots; ++s) {
    const ValueUnit unit = units.of[s * kWarpgroup + thread];
    if (unit.row >= at.rows || at.first + unit.row < 0) continue;
    const bool delayed = is_delayed(args, unit);
    const bool valid = !delayed || facts.reaches(unit.row + 1, 1);
    const uint4* from = rows.whole(unit) + (delayed ? rows.stride : 0);
    cp_async_16(&slots.unit[s][thread], valid ? from : args.values, valid);
  }
  cp_async_commit();
}

/// Writes them, and the halo's. The copies have been waited for.
__device__ __forceinline__ void store_unshifted(const ValueArgs& args, const TileSpot& at,
                                                const ValueUnits& units, const ValueSlots& slots) {
  const ValueRows rows(args, at);
  const int thread = group_thread();
#pragma unroll
  for (int s = 0; s < kSlots; ++s) {
    const ValueUnit unit = units.of[s * kWarpgroup + thread];
    if (unit.row >= at.rows || at.first + unit.row < 0) continue;
    const bool delayed = is_delayed(args, unit);
    (delayed ? rows.delayed : rows.current)[unit.half] = slots.unit[s][thread];
    if (!delayed || at.first + unit.row > 0 || !args.halo) continue;
    *halo_unit(args, at, unit) = continues(args, at) ? *rows.whole(unit) : uint4{};
  }
}

/// Shared memory of a warpgroup: the first operand's rows (then an input of the last step, then the
/// output take their place), another head's, what is known of them, values on their way.
struct FusedGroup {
  alignas(256) bf16 rows[(kTile + kReach) * kHead];
  alignas(256) bf16 other[kTile * kHead];
  TileFacts facts[2];
  ValueSlots values;
};

}  // namespace strait::kernels::cuda::cca
