#pragma once

#include "kernels/check.h"
#include "kernels/stream.h"

namespace strait::kernels {

/// x = value, any dtype, strided rows allowed.
struct Fill {
  static constexpr const char* kName = "Fill";
  Tensor x;
  double value = 0;
};

/// y = a + b; y may alias either.
struct Add {
  static constexpr const char* kName = "Add";
  ConstTensor a;
  ConstTensor b;
  Tensor y;
};

/// y = x, converting the dtype (f64, f32); shapes equal, rows may be strided.
struct Copy {
  static constexpr const char* kName = "Copy";
  ConstTensor x;
  Tensor y;
};

void check(const Fill& op);
void check(const Add& op);
void check(const Copy& op);
Work work(const Fill& op);
Work work(const Add& op);
Work work(const Copy& op);

}  // namespace strait::kernels
