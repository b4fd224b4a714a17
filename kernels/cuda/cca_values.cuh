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

/// v[t] = concat(current[t], delayed[t - 1]), zeros before the first row of a document: one unit.
template <class Unit>
__device__ __forceinline__ void shift_unit(const ValueArgs& args, std::int64_t t, int c) {
  const int back = c - args.current_width;
  Unit value = {};
  if (back < 0) {
    value = static_cast<const Unit*>(args.current)[t * args.current_stride + c];
  } else if (args.doc_pos[t] > 0) {
    if (t % args.chunk_rows != 0) {
      value = static_cast<const Unit*>(args.delayed)[(t - 1) * args.delayed_stride + back];
    } else if (args.halo) {
      value = static_cast<const Unit*>(args.halo)[t / args.chunk_rows * args.halo_stride + back];
    }
  }
  static_cast<Unit*>(args.values)[t * args.values_stride + c] = value;
}

/// The mirror image: the delayed half goes to the row before, or to the halo.
template <class Unit>
__device__ __forceinline__ void unshift_unit(const ValueArgs& args, std::int64_t t, int c) {
  const int back = c - args.current_width;
  const Unit* values = static_cast<const Unit*>(args.values) + c;
  if (back < 0) {
    static_cast<Unit*>(args.current)[t * args.current_stride + c] = values[t * args.values_stride];
    return;
  }
  const bool reached = (t + 1) % args.chunk_rows != 0 && args.doc_pos[t + 1] > 0;
  static_cast<Unit*>(args.delayed)[t * args.delayed_stride + back] =
      reached ? values[(t + 1) * args.values_stride] : Unit{};
  if (args.halo && t % args.chunk_rows == 0) {
    static_cast<Unit*>(args.halo)[t / args.chunk_rows * args.halo_stride + back] =
        args.doc_pos[t] > 0 ? values[t * args.values_stride] : Unit{};
  }
}

/// kForward: v from its halves, else the gradients of the halves from that of v.
template <class Unit, bool kForward>
__global__ void __launch_bounds__(kValueThreads) move_values(const ValueArgs args) {
  const int width = args.current_width + args.delayed_width;
  const std::int64_t index = static_cast<std::int64_t>(blockIdx.x) * kValueThreads + threadIdx.x;
  if (index >= args.tokens * width) return;
  const std::int64_t t = index / width;
  const int c = static_cast<int>(index - t * width);
  if constexpr (kForward) {
    shift_unit<Unit>(args, t, c);
  } else {
    unshift_unit<Unit>(args, t, c);
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
