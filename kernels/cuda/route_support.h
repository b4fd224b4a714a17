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

/// Blocks that share the tokens: a warp per token, as many blocks as fill the multiprocessors of an
/// H100, since a token is a chain of short steps.
inline unsigned token_blocks(std::int64_t tokens) {
  constexpr std::int64_t kMost = 16 * 132;
  const std::int64_t blocks = (tokens + kWarps - 1) / kWarps;
  return static_cast<unsigned>(blocks < kMost ? blocks : kMost);
}

}  // namespace strait::kernels::cuda::route
