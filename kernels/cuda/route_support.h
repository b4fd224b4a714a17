#pragma once

#include <string>

#include "kernels/cuda/route_warp.cuh"
#include "kernels/tensor.h"

namespace strait::kernels::cuda::route {

/// What the ops over [T, E] logits refuse.
inline std::string unsupported_logits(const ConstTensor& logits) {
  if (logits.dtype != DType::f32) {
    return "logits: the CUDA backend routes in f32, got " + logits.shape_string() +
           "; set precision.compute to f32 or bf16, or run.device to cpu";
  }
  if (logits.shape[1] <= kMaxExperts) return {};
  return "logits: the CUDA backend routes to at most " + std::to_string(kMaxExperts) +
         " experts, got " + logits.shape_string() + "; use fewer experts";
}

/// Blocks that share the tokens: a warp per token, eight blocks for each multiprocessor of an H100.
inline unsigned token_blocks(std::int64_t tokens) {
  const std::int64_t blocks = (tokens + kWarps - 1) / kWarps;
  return static_cast<unsigned>(blocks < 1056 ? blocks : 1056);
}

}  // namespace strait::kernels::cuda::route
