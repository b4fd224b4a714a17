#pragma once

#include <string>

#include "layers/layer.h"

namespace strait::layers {

/// Rows sorted by expert: `offsets` [E + 1] i32 says which rows belong to which expert.
/// Each expert is a SwiGLU feed-forward of hidden width F; the weights of all are one tensor. A
/// rank holds E / ep experts or, without expert ranks, F / tp of each; then y and dx are terms of
/// sums over tensor ranks.
class Experts {
 public:
  Experts(const Build& build, const std::string& name);

  /// x, y [N, D]. Keeps the hidden activations; x is the caller's to keep or to rebuild.
  void forward(Ctx& ctx, ConstTensor x, ConstTensor offsets, Tensor y);
  /// dx assigned; x as in forward.
  void backward(Ctx& ctx, ConstTensor x, ConstTensor dy, ConstTensor offsets, Tensor dx);

 private:
  std::int64_t width_;
  core::Param& gate_up_;  // [E, 2F, D]
  core::Param& down_;     // [E, D, F]
  struct {
    Tensor gate_up;  // [N, 2F]
    Tensor hidden;   // [N, F]
  } saved_;
};

}  // namespace strait::layers
