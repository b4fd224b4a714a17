#pragma once

#include "kernels/check.h"
#include "kernels/stream.h"

// A linear map by a weight in the statistics dtype, between activations in the model's dtype and
// results in the statistics dtype: what routers are made of.
namespace strait::kernels {

/// y = x w^T, nothing rounded to the dtype of x on the way.
struct WideLinearFwd {
  static constexpr const char* kName = "WideLinearFwd";
  ConstTensor x;  // [T, I]
  ConstTensor w;  // [O, I] stat dtype
  Tensor y;       // [T, O] stat dtype, assigned
};

/// dx = dy w, rounded to the dtype of dx at the end.
struct WideLinearBwd {
  static constexpr const char* kName = "WideLinearBwd";
  ConstTensor dy;  // [T, O] stat dtype
  ConstTensor w;   // [O, I] stat dtype
  Tensor dx;       // [T, I], assigned
};

void check(const WideLinearFwd& op);
void check(const WideLinearBwd& op);
Work work(const WideLinearFwd& op);
Work work(const WideLinearBwd& op);

}  // namespace strait::kernels
