#pragma once

#include <initializer_list>

#include "kernels/tensor.h"

namespace strait::kernels {

/// Bytes of the tensors that are present, once each: the least an op has to move.
inline double bytes_of(std::initializer_list<ConstTensor> tensors) {
  double bytes = 0;
  for (const ConstTensor& t : tensors) bytes += t.defined() ? static_cast<double>(t.bytes()) : 0.0;
  return bytes;
}

}  // namespace strait::kernels
