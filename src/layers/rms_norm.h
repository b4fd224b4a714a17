#pragma once

#include <string>

#include "kernels/norm.h"
#include "layers/layer.h"

namespace strait::layers {

/// RMS norm with weight, optionally fused with the residual addition in front of it.
class RmsNorm {
 public:
  /// `wide`: weight, input and result in the statistics dtype.
  RmsNorm(const Build& build, const std::string& name, std::int64_t width, double eps,
          bool wide = false);

  /// y = norm(x); rstd [T] is the caller's to keep.
  void forward(Ctx& ctx, ConstTensor x, Tensor y, Tensor rstd) const;
  /// sum = x + delta, scaled where `scales` are; y = norm(sum).
  void forward_residual(Ctx& ctx, ConstTensor x, ConstTensor delta,
                        const kernels::SumScales& scales, Tensor sum, Tensor y, Tensor rstd) const;
  /// dx = (gradient through the norm of s), weight gradient added.
  void backward(Ctx& ctx, ConstTensor dy, ConstTensor s, ConstTensor rstd, Tensor dx) const;
  /// d += (gradient through the norm of s): the residual path and the norm path meet.
  void backward_residual(Ctx& ctx, ConstTensor dy, ConstTensor s, ConstTensor rstd, Tensor d) const;

 private:
  core::Param& weight_;
  double eps_;
};

}  // namespace strait::layers
