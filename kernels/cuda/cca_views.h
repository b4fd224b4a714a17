#pragma once

#include <string>

#include "kernels/cca.h"
#include "kernels/cuda/cca_mix.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/support.h"

// Host side of the CCA mix kernels' arguments.
namespace strait::kernels::cuda::cca {

inline constexpr std::int64_t kMaxWidth = 256;

inline Wide wide(const ConstTensor& t) {
  return {t.data, t.dtype == DType::bf16};
}

/// z or dz with the halo of the same op, or an absent one.
template <class T, class Pointer>
MixRows<T> mix_rows(const BasicTensor<Pointer>& rows, const BasicTensor<Pointer>& halo,
                    std::int64_t chunk_rows) {
  const bool present = halo.defined();
  return {.rows = static_cast<T*>(rows.data),
          .halo = static_cast<T*>(halo.data),
          .stride = rows.stride[0],
          .halo_chunk = present ? halo.stride[0] : 0,
          .halo_row = present ? halo.stride[1] : 0,
          .chunk_rows = static_cast<int>(chunk_rows),
          .halo_rows = static_cast<int>(present ? halo.shape[1] : 0)};
}

/// `query` and `key` are q and k, or their gradients. `others_aligned`: the op's further tensors
/// have aligned rows as well.
template <class T, class Op>
Inputs<T> inputs(const Op& op, const ConstTensor& query, const ConstTensor& key,
                 bool others_aligned) {
  const std::int64_t width = query.shape[2];
  const bool aligned = all_aligned(op.z, op.halo_z, op.w0, op.b0, op.b1) && others_aligned;
  return {.z = mix_rows<const T>(op.z, op.halo_z, op.chunk),
          .w0 = op.w0.template as<T>(),
          .w1 = op.w1.template as<T>(),
          .b0 = wide(op.b0),
          .b1 = wide(op.b1),
          .temp = wide(op.temp),
          .positions = op.positions.template as<std::int32_t>(),
          .doc_pos = op.doc_pos.template as<std::int32_t>(),
          .tokens = static_cast<int>(op.z.shape[0]),
          .chunks = static_cast<int>(op.z.shape[0] / op.chunk),
          .chunk_rows = static_cast<int>(op.chunk),
          .halo_rows = static_cast<int>(op.halo_z.defined() ? op.halo_z.shape[1] : 0),
          .heads = static_cast<int>(query.shape[1] + key.shape[1]),
          .query_heads = static_cast<int>(query.shape[1]),
          .groups = static_cast<int>(key.shape[1]),
          .width = static_cast<int>(width),
          .taps0 = static_cast<int>(op.w0.defined() ? op.w0.shape[0] : 1),
          .taps1 = static_cast<int>(op.w1.defined() ? op.w1.shape[1] / width : 1),
          .convs = op.switches.convs,
          .qk_mean = op.switches.qk_mean,
          .norm = op.switches.norm,
          .exponential = op.switches.temperature == KeyTemperature::exp,
          .vector = aligned && width % 4 == 0,
          .panels = aligned_rows(op.w1) && width % 8 == 0};
}

template <class Op>
std::string unsupported_mix(const Op& op, const ConstTensor& query) {
  std::string reason = unsupported_compute("z", op.z);
  if (reason.empty()) reason = unsupported_rope(op.rope);
  if (reason.empty() && query.shape[2] > kMaxWidth) {
    reason = "head dim: the CUDA backend mixes heads of at most " + std::to_string(kMaxWidth) +
             " channels, got " + query.shape_string() + "; use more heads of a smaller dim";
  }
  const std::int64_t taps0 = op.w0.defined() ? op.w0.shape[0] : 1;
  const std::int64_t taps1 = op.w1.defined() ? op.w1.shape[1] / query.shape[2] : 1;
  if (reason.empty() && (taps0 > kMaxTaps || taps1 > kMaxTaps)) {
    reason = "w0, w1: the CUDA backend takes at most " + std::to_string(kMaxTaps) + " taps, got " +
             std::to_string(taps0) + " and " + std::to_string(taps1) + "; use shorter convolutions";
  }
  return reason;
}

/// Calls body(integral constant of the widest head) for T; float has one shape for all.
template <class T, class Body>
void with_width(std::int64_t width, Body&& body) {
  if constexpr (sizeof(T) == 2) {
    if (width <= 64) return body(std::integral_constant<int, 64>{});
    if (width <= 128) return body(std::integral_constant<int, 128>{});
  }
  body(std::integral_constant<int, kMaxWidth>{});
}

}  // namespace strait::kernels::cuda::cca
