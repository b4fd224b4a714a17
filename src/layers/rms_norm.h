#pragma once

#include <string>

#include "kernels/norm.h"
#include "layers/layer.h"

namespace strait::layers {

/// The residual stream between two norms: its value is h + delta, or their scaled sum, or the sum
/// with what experts made of each token's rows. The addition is fused into the next norm, so that
/// terms are handed on.
struct Residual {
  Tensor h;      // [T, D], may be in the statistics dtype (Build::residual_dtype)
  Tensor delta;  // [T, D]; undefined in front of the first block, and where experts are all
  kernels::SumScales scales = {};    // or none
  kernels::ExpertRows experts = {};  // or none

  bool is_sum() const { return delta.defined() || experts.rows.defined(); }
};

/// RMS norm with weight, optionally fused with the residual addition in front of it.
class RmsNorm {
 public:
  /// `wide`: weight, input and result in the statistics dtype.
  RmsNorm(const Build& build, const std::string& name, std::int64_t width, double eps,
          bool wide = false);

  /// y = norm(x); rstd [T] is the caller's to keep.
  void forward(Ctx& ctx, ConstTensor x, Tensor y, Tensor rstd) const;
  /// sum = the stream's value, y = norm(sum). Precondition: terms.is_sum().
  void forward_residual(Ctx& ctx, const Residual& terms, Tensor sum, Tensor y, Tensor rstd) const;
  /// dx = (gradient through the norm of s), weight gradient added.
  void backward(Ctx& ctx, ConstTensor dy, ConstTensor s, ConstTensor rstd, Tensor dx) const;
  /// d += (gradient through the norm of s): the residual path and the norm path meet.
  void backward_residual(Ctx& ctx, ConstTensor dy, ConstTensor s, ConstTensor rstd, Tensor d) const;

 private:
  core::Param& weight_;
  double eps_;
};

}  // namespace strait::layers
