#pragma once

#include "kernels/check.h"
#include "kernels/stream.h"

namespace strait::kernels {

/// Rotary embedding (arXiv 2104.09864) of the first `dims` channels of each head by angle
/// position * theta^(-2 i / dims), i = 0 .. dims/2 - 1. Pairs are (i, i + dims/2), or (2i, 2i + 1)
/// when interleaved. dims is even; 0 means no rotation. Angles are computed in double.
struct Rope {
  double theta = 10000.0;
  std::int64_t dims = 0;
  bool interleaved = false;
};

/// Per head: optional RMS norm over d with weight w (Qwen3's QK-norm), then rotation.
struct QkNormRopeFwd {
  static constexpr const char* kName = "QkNormRopeFwd";
  ConstTensor x;          // [T, H, d], token and head strides free
  ConstTensor w = {};     // [d]; absent: no norm
  ConstTensor positions;  // [T] i32
  Tensor y;               // [T, H, d]; may be x when there is no norm
  Tensor rstd = {};       // [T, H] stat dtype, present exactly when w is
  Rope rope;
  double eps = 1e-6;
};

struct QkNormRopeBwd {
  static constexpr const char* kName = "QkNormRopeBwd";
  ConstTensor dy;         // [T, H, d]
  ConstTensor x = {};     // [T, H, d] input of the forward, present exactly when w is
  ConstTensor w = {};     // [d]
  ConstTensor positions;  // [T] i32
  ConstTensor rstd = {};  // [T, H]
  Tensor dx;              // [T, H, d], assigned; may alias dy
  Tensor dw = {};         // [d], accumulated, present exactly when w is
  Rope rope;
};

/// The rope of an op whose heads have width d: dims even and at most d, theta positive.
void check(const Checker& c, const Rope& rope, std::int64_t d);
void check(const QkNormRopeFwd& op);
void check(const QkNormRopeBwd& op);
Work work(const QkNormRopeFwd& op);
Work work(const QkNormRopeBwd& op);

}  // namespace strait::kernels
