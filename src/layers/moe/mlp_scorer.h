#pragma once

#include <string>

#include "layers/moe/scorer.h"
#include "layers/rms_norm.h"

namespace strait::layers {

/// The router of ZAYA1 (arXiv 2605.05365): a state of R channels, then a small network,
///   r = W_d x + b_d + gamma r_before,
///   logits = W_o gelu(W_2 gelu(W_1 norm(r) + b_1) + b_2).
/// With depth averaging r_before is the state of the mixture before, in ctx.depth; the first has
/// none. The state that is handed on is r itself, before the norm.
class MlpScorer final : public Scorer {
 public:
  MlpScorer(const Build& build, const std::string& name, std::int64_t classes);
  void forward(Ctx& ctx, ConstTensor x, Tensor logits) override;
  /// Takes the gradient of r from ctx.depth and leaves that of r_before there.
  void backward(Ctx& ctx, ConstTensor dlogits, Tensor dx) override;

 private:
  /// The hidden layers: y = gelu(W x + b).
  struct Hidden {
    Linear linear;
    core::Param& bias;  // [R]
    Tensor product, y;  // [T, R] of the last forward
  };
  static Hidden make_hidden(const Build& build, const std::string& name);
  void forward(Ctx& ctx, Hidden& layer, ConstTensor x) const;
  /// dy becomes the gradient of the product.
  void backward(Ctx& ctx, const Hidden& layer, ConstTensor x, Tensor dy, Tensor dx) const;

  Tensor before(const Ctx& ctx) const;

  std::int64_t width_;
  bool averages_;
  std::int64_t index_;  // of this mixture among the model's
  WideningLinear down_;
  core::Param& down_bias_;        // [R]
  core::Param* gamma_ = nullptr;  // [R], of all but the first mixture
  RmsNorm norm_;
  Hidden fc1_, fc2_;
  Linear out_;
  struct {
    ConstTensor x;
    Tensor state;         // [T, R] r
    Tensor normed, rstd;  // [T, R], [T]
  } saved_;
};

}  // namespace strait::layers
