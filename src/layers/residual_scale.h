#pragma once

#include <string>

#include "layers/layer.h"

namespace strait::layers {

/// Learned bias and scale on each term of a residual sum (kernels/residual_scale.h), or on a branch
/// alone.
class ResidualScale {
 public:
  /// With `sum` the stream has its own two vectors beside the branch's.
  ResidualScale(const Build& build, const std::string& name, bool sum);

  /// y = (delta + b_d) * s_d + (x + b_x) * s_x; x absent for a branch alone.
  void forward(Ctx& ctx, ConstTensor x, ConstTensor delta, Tensor y) const;
  /// x and delta as in forward. `d`: gradient of y on entry, of x on exit; ddelta assigned.
  void backward(Ctx& ctx, ConstTensor x, ConstTensor delta, Tensor d, Tensor ddelta) const;
  /// Of a branch alone: `d` becomes the gradient of delta.
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
