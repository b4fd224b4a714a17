#pragma once

#include "kernels/cuda/convert.cuh"
#include "kernels/cuda/launch.cuh"

// The value shift of the CCA mix and its mirror image: moves of whole rows, in units of one access.
namespace strait::kernels::cuda::cca {

/// v (or dv), its current and delayed halves and the halo of the delayed one (or their gradients);
/// halves and halo may be absent (null, width 0). Strides and widths in units.
struct ValueArgs {
  void* values;   // [T, current + delayed]
  void* current;  // [T, current]
  void* delayed;  // [T, delayed]
  void* halo;     // [chunks, delayed]
  const std::int32_t* doc_pos;
  std::int64_t values_stride, current_stride, delayed_stride, halo_stride;
  std::int64_t tokens;
  int chunk_rows, current_width, delayed_width;
};

/// `values` is [T, heads, width] with its heads side by side; everything counted in units of
/// `unit` bytes. The tensors that the caller reads may be const.
inline ValueArgs value_args(const ConstTensor& values, const ConstTensor& current,
                            const ConstTensor& delayed, const ConstTensor& halo,
                            const ConstTensor& doc_pos, std::int64_t chunk, std::int64_t unit) {
  const auto scale = [&](std::int64_t elements) {
    return elements * static_cast<std::int64_t>(size_of(values.dtype)) / unit;
  };
  const auto width = [&](const ConstTensor& t) {
    return static_cast<int>(scale(t.defined() ? t.shape[1] : 0));
  };
  return {.values = const_cast<void*>(values.data),
          .current = const_cast<void*>(current.data),
          .delayed = const_cast<void*>(delayed.data),
          .halo = const_cast<void*>(halo.data),
          .doc_pos = doc_pos.as<std::int32_t>(),
          .values_stride = scale(values.stride[0]),
          .current_stride = scale(current.stride[0]),
          .delayed_stride = scale(delayed.stride[0]),
          .halo_stride = scale(halo.stride[0]),
          .tokens = values.shape[0],
          .chunk_rows = static_cast<int>(chunk),
          .current_width = width(current),
          .delayed_width = width(delayed)};
}

inline constexpr int kValueThreads = 256;

inline Grid value_grid(const ValueArgs& args) {
  const std::int64_t units = args.tokens * (args.current_width + args.delayed_width);
  return {blocks_for(units, kValueThreads), kValueThreads};
}

/// A place in v: row t, which is the row-th of its chunk, unit c of the row.
struct ValuePlace {
  std::int64_t t;
  int chunk, row, c;
};

/// v[t] = concat(current[t], delayed[t - 1]), zeros before the first row of a document: one unit.
/// kForward: read and written as a unit of v, else as the unit of the halves' gradients that has
/// its place there.
template <class Unit, bool kForward>
struct ValueUnit {
  const ValueArgs& args;
  const ValuePlace at;
  const int back = at.c - args.current_width;  // in the delayed half, when not negative

  __device__ Unit* whole(std::int64_t row) const {
    return static_cast<Unit*>(args.values) + row * args.values_stride + at.c;
  }
  __device__ Unit* half(std::int64_t row) const {
    if (back < 0) return static_cast<Unit*>(args.current) + row * args.current_stride + at.c;
    return static_cast<Unit*>(args.delayed) + row * args.delayed_stride + back;
  }
  /// Of the row before the chunk.
  __device__ Unit* halo() const {
    return static_cast<Unit*>(args.halo) + at.chunk * args.halo_stride + back;
  }

  __device__ Unit load() const {
    const Unit* from = kForward ? half(at.t) : whole(at.t);
    bool valid = true;
    if (kForward && back >= 0) {
      from = at.row == 0 ? halo() : half(at.t - 1);
      valid = args.doc_pos[at.t] > 0 && (at.row > 0 || args.halo);
    } else if (back >= 0) {
      from = whole(at.t + 1);
      valid = at.row + 1 < args.chunk_rows && args.doc_pos[at.t + 1] > 0;
    }
    return valid ? *from : Unit{};
  }

  __device__ void store(const Unit& unit) const {
    *(kForward ? whole(at.t) : half(at.t)) = unit;
    if (kForward || back < 0 || !args.halo || at.row > 0) return;
    *halo() = args.doc_pos[at.t] > 0 ? *whole(at.t) : Unit{};
  }
};

/// kForward: v from its halves, else the gradients of the halves from that of v.
template <class Unit, bool kForward>
__global__ void __launch_bounds__(kValueThreads) move_values(const ValueArgs args) {
  const int width = args.current_width + args.delayed_width;
  const std::int64_t index = static_cast<std::int64_t>(blockIdx.x) * kValueThreads + threadIdx.x;
  if (index >= args.tokens * width) return;
  const std::int64_t t = index / width;
  const ValuePlace at{t, static_cast<int>(t / args.chunk_rows),
                      static_cast<int>(t % args.chunk_rows), static_cast<int>(index % width)};
  const ValueUnit<Unit, kForward> unit{args, at};
  unit.store(unit.load());
}

/// Unit c of rows [begin, end) of a chunk, none of them its first, every step-th: many at a time.
template <bool kForward, bool kDelayed>
__device__ __forceinline__ void move_column(const ValueArgs& args, const ValuePlace& at, int end,
                                            int step) {
  constexpr int kAtOnce = 16, kLater = kForward ? 0 : 1;  // the row that has the value's history
  const ValueUnit<uint4, kForward> unit{args, at};
  const uint4* from = kForward ? unit.half(at.t - kDelayed) : unit.whole(at.t + kDelayed);
  uint4* to = kForward ? unit.whole(at.t) : unit.half(at.t);
  const std::int64_t half_stride = kDelayed ? args.delayed_stride : args.current_stride;
  const std::int64_t from_step = step * (kForward ? half_stride : args.values_stride);
  const std::int64_t to_step = step * (kForward ? args.values_stride : half_stride);
  const std::int32_t* doc_pos = args.doc_pos + at.t + kLater;
#pragma unroll 1
  for (int row = at.row; row < end; row += kAtOnce * step) {
    uint4 units[kAtOnce];
    std::int32_t history[kAtOnce];
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      const int at_row = row + i * step;
      const bool there = at_row < end && (!kDelayed || at_row + kLater < args.chunk_rows);
      units[i] = there ? *from : uint4{};
      history[i] = kDelayed && there ? doc_pos[i * step] : 1;
      from += from_step;
    }
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      if (row + i * step < end) *to = history[i] > 0 ? units[i] : uint4{};
      to += to_step;
    }
    doc_pos += kAtOnce * step;
  }
}

/// The same for rows [begin, end) by some warps of a block.
template <bool kForward>
__device__ __forceinline__ void move_rows(const ValueArgs& args, std::int64_t begin,
                                          std::int64_t end, int warp, int warps) {
  const std::int64_t rows = args.chunk_rows;
  for (int chunk = static_cast<int>(begin / rows); chunk * rows < end; ++chunk) {
    const std::int64_t start = chunk * rows;
    const int low = static_cast<int>(max(begin - start, std::int64_t{0}));
    const int high = static_cast<int>(min(end - start, rows));
    for (int c = lane_id(); c < args.current_width + args.delayed_width; c += kWarp) {
      if (low == 0 && warp == 0) {
        const ValueUnit<uint4, kForward> unit{args, {start, chunk, 0, c}};
        unit.store(unit.load());
      }
      const int row = max(low, 1) + warp;
      const ValuePlace at{start + row, chunk, row, c};
      if (c < args.current_width) {
        move_column<kForward, false>(args, at, high, warps);
      } else {
        move_column<kForward, true>(args, at, high, warps);
      }
    }
  }
}

/// Bytes of the widest unit that divides rows and pieces of all tensors: 16, or one element.
inline std::int64_t value_unit(const ConstTensor& values, const ConstTensor& current,
                               const ConstTensor& delayed, const ConstTensor& halo) {
  const auto element = static_cast<std::int64_t>(size_of(values.dtype));
  const auto whole = [&](const ConstTensor& t) {
    return !t.defined() || (aligned_rows(t) && t.shape[1] * element % 16 == 0);
  };
  ConstTensor flat = values;
  flat.rank = 2;
  flat.shape[1] = values.shape[1] * values.shape[2];
  return whole(flat) && whole(current) && whole(delayed) && whole(halo) ? 16 : element;
}

/// Calls body(unit) for a unit of that many bytes.
template <class Body>
void with_value_unit(std::int64_t bytes, Body&& body) {
  if (bytes == 16) return body(uint4{});
  if (bytes == 2) return body(std::uint16_t{});
  body(std::uint32_t{});
}

}  // namespace strait::kernels::cuda::cca
