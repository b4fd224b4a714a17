#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <type_traits>

#include "kernels/cuda/convert.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/reduce.cuh"

// A block holds a whole row in registers: thread i owns packets i, i + threads, ...
namespace strait::kernels::cuda {

inline constexpr int kMaxRowThreads = 512;

/// Packets a thread can hold.
template <int kWidth>
inline constexpr int kRowPackets = kWidth == 1 ? 16 : 4;

/// Calls body(integral_constant<int, packet width>): 16-byte packets where every row allows, else
/// single elements.
template <class T, class Body>
void with_packets(bool aligned, Body&& body) {
  if (aligned) return body(std::integral_constant<int, kPacket<T>>{});
  body(std::integral_constant<int, 1>{});
}

/// Threads for rows of `width`: about two packets each, whole warps.
inline unsigned row_threads(std::int64_t width, int packet) {
  const std::int64_t threads = ceil_div(ceil_div(width, packet), 2);
  return static_cast<unsigned>(
      std::clamp<std::int64_t>(ceil_div(threads, kWarp) * kWarp, kWarp, kMaxRowThreads));
}

/// Why rows of `width` do not fit a block; empty when they do.
inline std::string unsupported_width(const char* field, const ConstTensor& t, bool aligned) {
  const std::int64_t width = t.shape[t.rank - 1];
  const std::int64_t packet = 16 / static_cast<std::int64_t>(size_of(t.dtype));
  const std::int64_t limit = kMaxRowThreads * (aligned ? packet * kRowPackets<8> : kRowPackets<1>);
  if (width <= limit) return {};
  return std::string(field) + ": rows of at most " + std::to_string(limit) +
         (aligned ? " elements, got " : " elements when not aligned to 16 bytes, got ") +
         t.shape_string() + "; " + (aligned ? "lower the width" : "align rows to 16 bytes");
}

}  // namespace strait::kernels::cuda
