#pragma once

#include <string>

#include "kernels/routing.h"
#include "layers/layer.h"
#include "layers/linear.h"

namespace strait::layers {

/// Choices of a micro-batch: K experts and weights per token.
struct Routing {
  Tensor expert;  // [T, K] i32
  Tensor weight;  // [T, K] stat dtype
};

/// Sums over a training step's tokens of this rank (after end_step: of all data ranks).
struct RouterTotals {
  Tensor counts;  // [E] i64 choices per expert
  Tensor aux;     // [1] f64 sum over sequences of the balance loss
  Tensor z;       // [1] f64 sum over tokens of logsumexp^2
};

/// Linear router: logits, scores, selection, balance losses and the loss-free selection bias. All
/// of it in the statistics dtype, the weight too: rounded logits would choose other experts.
class Router {
 public:
  Router(const Build& build, const std::string& name);

  void begin_step(Ctx& ctx);
  Routing forward(Ctx& ctx, ConstTensor x);
  /// dx assigned: the gradient through the router; dweight [T, K].
  void backward(Ctx& ctx, ConstTensor dweight, Tensor dx);
  /// Sums the counts over data ranks and moves the selection bias.
  void end_step(Ctx& ctx);

  const RouterTotals& totals() const { return totals_; }

 private:
  void balance_losses(Ctx& ctx);

  config::Moe config_;
  kernels::RouterRule rule_;
  Linear gate_;
  core::Param* bias_ = nullptr;  // [E] selection bias, state without gradient
  RouterTotals totals_;
  struct {
    ConstTensor x;
    Tensor logits, scores, expert, fraction;
  } saved_;
};

}  // namespace strait::layers
