#pragma once

#include "kernels/check.h"
#include "kernels/stream.h"

// A linear map by a weight in the statistics dtype, between activations in the model's dtype and
// results in the statistics dtype: what routers are made of.
namespace strait::kernels {

/// How many parts (P) in the dtype of activations stand for a matrix of their stat dtype in a
/// product: itself where both are one dtype.
constexpr std::int64_t parts_of(DType compute) {
  return compute == stat_dtype(compute) ? 1 : 4;
}

/// y = x w^T, nothing rounded to the dtype of x on the way. `parts` keeps w for products in the
/// dtype of x, its parts one behind the other: hi, what hi leaves, what both leave, and hi again.
/// Rows dy = dhi + dlo times w are then one product, of dhi, dhi, dhi, dlo beside one another.
struct WideLinearFwd {
  static constexpr const char* kName = "WideLinearFwd";
  ConstTensor x;      // [T, I]
  ConstTensor w;      // [O, I] stat dtype
  Tensor y;           // [T, O] stat dtype, assigned
  Tensor parts = {};  // [P O, I] dtype of x, contiguous, or absent
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
