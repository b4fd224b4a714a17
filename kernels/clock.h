#pragma once

#include "kernels/check.h"

namespace strait::kernels {

/// Time by the device's own clock, so that it can be read inside a captured graph:
/// total += now - last; last = now. Nanoseconds; about a microsecond sharp on cuda.
struct Lap {
  static constexpr const char* kName = "Lap";
  Tensor last;   // [1] i64
  Tensor total;  // [1] i64, accumulated
};

void check(const Lap& op);

}  // namespace strait::kernels
