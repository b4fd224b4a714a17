#pragma once

#include <memory>
#include <string>

#include "kernels/wide_linear.h"
#include "layers/layer.h"
#include "layers/linear.h"

namespace strait::layers {

/// What makes a router's logits from the tokens, one per class. All of it is in the statistics
/// dtype, the weights too: rounded logits would choose other experts.
class Scorer {
 public:
  virtual ~Scorer() = default;
  /// x [T, D] -> logits [T, classes]. Keeps what backward needs; x must stay.
  virtual void forward(Ctx& ctx, ConstTensor x, Tensor logits) = 0;
  /// dx assigned.
  virtual void backward(Ctx& ctx, ConstTensor dlogits, Tensor dx) = 0;
};

/// The scorer that model.ffn.moe.router names.
std::unique_ptr<Scorer> make_scorer(const Build& build, const std::string& name,
                                    std::int64_t classes);

/// A linear map from the compute dtype to the statistics dtype, by a weight in the latter.
class WideningLinear {
 public:
  /// spec.wide is set here.
  WideningLinear(const Build& build, LinearSpec spec);

  void forward(Ctx& ctx, ConstTensor x, Tensor y) const;
  /// dx assigned, in the compute dtype as x is.
  void backward(Ctx& ctx, ConstTensor x, ConstTensor dy, Tensor dx) const;
  /// The half of backward that concerns the weight.
  void weight_gradient(Ctx& ctx, ConstTensor x, ConstTensor dy) const;
  ConstTensor weight() const { return linear_.weight(); }

 private:
  Linear linear_;
};

/// One projection.
class LinearScorer final : public Scorer {
 public:
  LinearScorer(const Build& build, const std::string& name, std::int64_t classes);
  void forward(Ctx& ctx, ConstTensor x, Tensor logits) override;
  void backward(Ctx& ctx, ConstTensor dlogits, Tensor dx) override;

  /// The product that makes the logits, for those who launch it themselves in place of forward.
  kernels::WideLinearFwd product(Ctx& ctx, ConstTensor x, Tensor logits);
  /// For those who make dx by a product of their own: the other half of backward, and what to
  /// multiply kernels::RouteBwd's parts of dlogits by, [P classes, D].
  void weight_gradient(Ctx& ctx, ConstTensor dlogits) const;
  ConstTensor parts() const;

 private:
  WideningLinear gate_;
  struct {
    ConstTensor x;
    Tensor parts;
  } saved_;
};

}  // namespace strait::layers
