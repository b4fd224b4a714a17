#pragma once

#include <cstdint>

#include "kernels/tensor.h"

namespace strait::kernels::cpu {

/// First element of one head of one token in a [T, heads, width] view with free strides.
template <class T, class Pointer>
auto* head(const BasicTensor<Pointer>& x, std::int64_t token, std::int64_t h) {
  return x.template as<T>() + token * x.stride[0] + h * x.stride[1];
}

}  // namespace strait::kernels::cpu
