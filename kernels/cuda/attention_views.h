#pragma once

#include <string>

#include "kernels/cuda/attention_tile.cuh"
#include "kernels/cuda/convert.cuh"
#include "kernels/cuda/support.h"

// Host side of the attention kernels' arguments.
namespace strait::kernels::cuda::attention {

inline constexpr std::int64_t kMaxHeadWidth = 256;

template <class T>
Heads<const T> input_heads(const ConstTensor& x) {
  return {x.as<T>(),
          x.stride[0],
          x.stride[1],
          static_cast<int>(x.shape[0]),
          static_cast<int>(x.shape[2]),
          aligned_rows(x) && x.shape[2] % kPacket<T> == 0};
}

template <class T>
Heads<T> output_heads(const Tensor& x) {
  return {x.as<T>(),
          x.stride[0],
          x.stride[1],
          static_cast<int>(x.shape[0]),
          static_cast<int>(x.shape[2]),
          aligned_rows(x) && x.shape[2] % kPacket<T> == 0};
}

template <class Op>
Intervals intervals_of(const Op& op) {
  return {op.k_begin.template as<std::int32_t>(), op.k_end.template as<std::int32_t>(),
          static_cast<int>(op.q.shape[0]), static_cast<int>(op.k.shape[0])};
}

inline std::string unsupported_width(const char* field, const ConstTensor& x) {
  if (x.shape[2] >= 1 && x.shape[2] <= kMaxHeadWidth) return {};
  return std::string(field) + ": the CUDA backend takes head dims 1.." +
         std::to_string(kMaxHeadWidth) + ", got " + x.shape_string() +
         "; use more heads of a smaller dim";
}

/// What forward and backward refuse alike.
template <class Op>
std::string unsupported_attention(const Op& op) {
  std::string reason = unsupported_compute("q", op.q);
  if (reason.empty()) reason = unsupported_width("q and k", op.k);
  if (reason.empty()) reason = unsupported_width("v", op.v);
  return reason;
}

/// Calls body with the first of Shapes... whose tile is wide enough for both head dims; the last
/// one takes all.
template <class Shape, class... Others, class Body>
void with_shape(int key_width, int value_width, Body&& body) {
  if constexpr (sizeof...(Others) == 0) {
    body(Shape{});
  } else {
    if (key_width <= Shape::kKeyWidth && value_width <= Shape::kValueWidth) return body(Shape{});
    with_shape<Others...>(key_width, value_width, body);
  }
}

}  // namespace strait::kernels::cuda::attention
