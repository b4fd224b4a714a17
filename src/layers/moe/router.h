#pragma once

#include <string>

#include "kernels/routing.h"
#include "layers/layer.h"
#include "layers/moe/scorer.h"

namespace strait::layers {

/// Choices of a micro-batch: K experts and weights per token.
struct Routing {
  Tensor expert;  // [T, K] i32
  Tensor weight;  // [T, K] stat dtype
};

/// Sums over a training step's tokens of this rank (after end_step: of all data ranks).
struct RouterTotals {
  Tensor counts;  // [E] i64 choices per expert, without those of the class that skips
  Tensor aux;     // [1] f64 sum over sequences of the balance loss
  Tensor z;       // [1] f64 sum over tokens of logsumexp^2
};

/// Logits (a Scorer), scores, selection, balance losses and the loss-free selection bias, all in
/// the statistics dtype. With model.ffn.moe.skip there is one class more than experts, the last,
/// whose selection bias is kSkipBias for good.
class Router {
 public:
  Router(const Build& build, const std::string& name);

  void begin_step(Ctx& ctx);
  Routing forward(Ctx& ctx, ConstTensor x);
  /// dx assigned: the gradient through the router; dweight [T, K].
  void backward(Ctx& ctx, ConstTensor dweight, Tensor dx);

  /// The same gradient as a product that the caller makes: rows [T, J] in sorted order times matrix
  /// [J, D].
  struct InputTerm {
    ConstTensor rows, matrix;
  };
  /// Whether there is one: logits are one linear map and every token goes to one expert.
  bool has_input_term() const { return linear_ && config_.top_k == 1 && !config_.skip; }
  /// In place of backward; row_of [T, 1] as in kernels::MoeSort. The rows are scratch of the
  /// caller's frame.
  InputTerm backward_term(Ctx& ctx, ConstTensor dweight, ConstTensor row_of);
  /// Sums the counts over data ranks and moves the selection bias.
  void end_step(Ctx& ctx);

  const RouterTotals& totals() const { return totals_; }
  /// Experts, and the class that skips.
  std::int64_t classes() const { return config_.n_experts + (config_.skip ? 1 : 0); }

  /// As transformers' ZAYA writes on every load.
  static constexpr double kSkipBias = -1.0;

 private:
  void balance_losses(Ctx& ctx);
  void route_backward(Ctx& ctx, kernels::RouteBwd op) const;
  void prepare_bias(Ctx& ctx);
  void update_bias(Ctx& ctx);

  config::Moe config_;
  kernels::RouterRule rule_;
  std::unique_ptr<Scorer> scorer_;
  LinearScorer* linear_;               // the scorer, where it is one
  core::Param* bias_ = nullptr;        // [E] selection bias, state without gradient
  core::Param* bias_state_ = nullptr;  // [2 E + 1] of the adamw rule: m, v, updates so far
  Tensor choice_bias_;                 // [classes] of this step, or undefined
  Tensor class_counts_;                // [classes] i64
  RouterTotals totals_;
  struct {
    Tensor logits, scores, expert, fraction;
  } saved_;
};

}  // namespace strait::layers
