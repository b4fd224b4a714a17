#pragma once

#include "kernels/check.h"

namespace strait::kernels::cpu {

/// Calls body(float{}) or body(double{}) by dtype; the CPU backend knows no other compute type.
template <class Body>
void with_real(DType dtype, const char* op, Body&& body) {
  if (dtype == DType::f32) return body(float{});
  if (dtype == DType::f64) return body(double{});
  throw OpError(std::string(op) + ": the CPU backend computes in f32 or f64, got " +
                name_of(dtype) + "; set precision.compute to f32 or f64");
}

/// The value of an optional [1] f64 factor; 1 when absent.
template <class T>
T scalar_or_one(const ConstTensor& factor) {
  return factor.defined() ? static_cast<T>(factor.as<double>()[0]) : T(1);
}

}  // namespace strait::kernels::cpu
