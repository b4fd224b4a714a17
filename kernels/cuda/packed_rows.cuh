#pragma once

#include <algorithm>
#include <cstdint>
#include <string>

#include "kernels/cuda/convert.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/reduce.cuh"

// A block holds a whole row in registers: thread i owns packets i, i + threads, ... Rows are whole
// packets: a test for a packet's end would split every load into two paths.
namespace strait::kernels::cuda {

inline constexpr int kMaxRowThreads = 512;

/// Packets of kWidth elements, of which a thread holds at most kKeep.
template <int kPacketWidth, int kPackets>
struct RowShape {
  static constexpr int kWidth = kPacketWidth;
  static constexpr int kKeep = kPackets;
};

/// The narrow shape spares registers for more rows in flight.
template <class T>
using NarrowRow = RowShape<kPacket<T>, 2>;
template <class T>
using WideRow = RowShape<kPacket<T>, 4>;
using OddRow = RowShape<1, 8>;

/// Whether rows that start at multiples of 16 bytes, as `aligned` says, are whole packets.
inline bool whole_packets(const ConstTensor& t, bool aligned) {
  const std::int64_t width = t.shape[t.rank - 1];
  return aligned && width * static_cast<std::int64_t>(size_of(t.dtype)) % 16 == 0;
}

/// Calls body(RowShape): 16-byte packets where every row allows, else single elements.
template <class T, class Body>
void with_row_shape(std::int64_t width, bool in_packets, Body&& body) {
  if (!in_packets) return body(OddRow{});
  if (width <= kMaxRowThreads * NarrowRow<T>::kWidth * NarrowRow<T>::kKeep) {
    return body(NarrowRow<T>{});
  }
  body(WideRow<T>{});
}

/// Calls body(S{}, T{}) for a residual stream in S, which may be wider, beside all else in T.
template <class Body>
void with_residual_and_real(DType residual, DType dtype, const char* op, Body&& body) {
  with_real(dtype, op, [&](auto real) {
    if (residual == DType::f32) {
      body(float{}, real);
    } else {
      body(real, real);
    }
  });
}

/// Threads for rows of `width`: about two packets each, whole warps.
inline unsigned row_threads(std::int64_t width, int packet) {
  const std::int64_t threads = ceil_div(ceil_div(width, packet), 2);
  return static_cast<unsigned>(
      std::clamp<std::int64_t>(ceil_div(threads, kWarp) * kWarp, kWarp, kMaxRowThreads));
}

/// Why rows of `width` do not fit a block; empty when they do.
inline std::string unsupported_width(const char* field, const ConstTensor& t, bool in_packets) {
  const std::int64_t width = t.shape[t.rank - 1];
  const std::int64_t packet = 16 / static_cast<std::int64_t>(size_of(t.dtype));
  const std::int64_t limit =
      kMaxRowThreads * (in_packets ? packet * WideRow<float>::kKeep : OddRow::kKeep);
  if (width <= limit) return {};
  return std::string(field) + ": rows of at most " + std::to_string(limit) +
         (in_packets ? " elements, got " : " elements when not aligned to 16 bytes, got ") +
         t.shape_string() + "; " + (in_packets ? "lower the width" : "align rows to 16 bytes");
}

}  // namespace strait::kernels::cuda
