#pragma once

#include <memory>
#include <string>

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

 private:
  Linear linear_;
};

/// One projection.
class LinearScorer final : public Scorer {
 public:
  LinearScorer(const Build& build, const std::string& name, std::int64_t classes);
  void forward(Ctx& ctx, ConstTensor x, Tensor logits) override;
  void backward(Ctx& ctx, ConstTensor dlogits, Tensor dx) override;

 private:
  WideningLinear gate_;
  ConstTensor x_;
};

}  // namespace strait::layers
