#pragma once

#include <cuda_bf16.h>

#include <string>

#include "kernels/check.h"

namespace strait::kernels::cuda {

using bf16 = __nv_bfloat16;

/// Calls body(float{}) or body(bf16{}) by dtype. Precondition: unsupported() let nothing else by.
template <class Body>
void with_real(DType dtype, const char* op, Body&& body) {
  if (dtype == DType::f32) return body(float{});
  if (dtype == DType::bf16) return body(bf16{});
  throw OpError(std::string(op) + ": the CUDA backend computes in f32 or bf16, got " +
                name_of(dtype) + "; set precision.compute to f32 or bf16");
}

}  // namespace strait::kernels::cuda
