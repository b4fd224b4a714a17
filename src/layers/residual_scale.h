#pragma once

#include <string>

#include "kernels/norm.h"
#include "layers/layer.h"

namespace strait::layers {

/// Learned bias and scale on each term of a residual sum (kernels/residual_scale.h), or on a branch
/// alone.
class ResidualScale {
 public:
  /// With `sum` the stream has its own two vectors beside the branch's.
  ResidualScale(const Build& build, const std::string& name, bool sum);

  /// For the norm that makes the sum (delta + b_d) * s_d + (x + b_x) * s_x.
  kernels::SumScales of_sum() const;
  /// Of the sum's terms. `d`: gradient of the sum on entry, of x on exit; ddelta assigned.
  void backward(Ctx& ctx, ConstTensor x, ConstTensor delta, Tensor d, Tensor ddelta) const;
  /// Of a branch alone: y = (delta + b_d) * s_d.
  void forward_branch(Ctx& ctx, ConstTensor delta, Tensor y) const;
  /// `d` becomes the gradient of delta.
  void backward_branch(Ctx& ctx, ConstTensor delta, Tensor d) const;

 private:
  struct Vectors {
    core::Param* scale = nullptr;  // [D]
    core::Param* bias = nullptr;   // [D]
  };
  static Vectors add_vectors(const Build& build, const std::string& name);

  Vectors branch_, stream_;
};

}  // namespace strait::layers
