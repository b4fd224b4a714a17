#pragma once

#include <string>

#include "kernels/tensor.h"

// Reasons for unsupported(), host code only.
namespace strait::kernels::cuda {

inline std::string unsupported_compute(const char* field, const ConstTensor& t) {
  if (!t.defined() || t.dtype == DType::f32 || t.dtype == DType::bf16) return {};
  return std::string(field) + ": the CUDA backend computes in f32 or bf16, got " +
         t.shape_string() + "; set precision.compute to f32 or bf16, or run.device to cpu";
}

}  // namespace strait::kernels::cuda
