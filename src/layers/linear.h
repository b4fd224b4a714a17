#pragma once

#include <string>
#include <vector>

#include "layers/layer.h"

namespace strait::layers {

/// What distinguishes one linear map from another.
struct LinearSpec {
  std::string name;  // of the weight, without ".weight"
  std::int64_t in = 0;
  std::int64_t out = 0;
  std::vector<core::Section> sections = {};  // parts of `out`, full names
  core::Shard shard = {};                    // Build::over_tensor: 0 splits `out`, 1 splits `in`
  double std = 0.02;
  bool wide = false;  // W, and what it is multiplied by, in the statistics dtype
};

/// y = x W^T without bias, W [out, in]. The caller keeps x for backward. With `out` split y is this
/// rank's columns and dx its term of a sum over tensor ranks; with `in` split y is the term.
class Linear {
 public:
  Linear(const Build& build, LinearSpec spec);

  void forward(Ctx& ctx, ConstTensor x, Tensor y) const;
  /// dx assigned, W.grad += dy^T x.
  void backward(Ctx& ctx, ConstTensor x, ConstTensor dy, Tensor dx) const;
  /// As backward, but adds to dx.
  void backward_add(Ctx& ctx, ConstTensor x, ConstTensor dy, Tensor dx) const;

  /// forward of a layer whose columns tensor ranks divide, and of one whose inputs they divide. x
  /// of the first and y of the second are this rank's rows (parallel/tensor_split.h); rows of other
  /// ranks move beside the products of its own.
  void forward_of_rows(Ctx& ctx, ConstTensor x, Tensor y) const;
  void forward_to_rows(Ctx& ctx, ConstTensor x, Tensor y) const;
  /// backward of the second: dy, this rank's rows, arrives in the same way.
  void backward_of_rows(Ctx& ctx, ConstTensor x, ConstTensor dy, Tensor dx) const;
  /// backward of the first. x: all rows, perhaps still on their way (parallel::whole_rows_beside);
  /// dx: this rank's rows of the sum over tensor ranks, which moves beside the weight's gradient.
  /// Scratch of the caller's frame.
  void backward_to_rows(Ctx& ctx, ConstTensor x, ConstTensor dy, Tensor dx) const;

  /// The two halves of backward: dx assigned; W.grad += dy^T x.
  void input_gradient(Ctx& ctx, ConstTensor dy, Tensor dx) const;
  void weight_gradient(Ctx& ctx, ConstTensor x, ConstTensor dy) const;

  ConstTensor weight() const { return param_.weight; }
  /// Columns of y on this rank.
  std::int64_t out() const { return param_.local_shape[0]; }

 private:
  core::Param& param_;
};

}  // namespace strait::layers
