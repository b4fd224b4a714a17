#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "layers/block.h"
#include "model/lm_head.h"

namespace strait::model {

/// A decoder language model: embedding, blocks, final norm, head. The call order is the model. Each
/// block is a stage of the parameter table; what comes before is the first, what comes after the
/// last.
class Transformer {
 public:
  /// Registers all parameters in build.table.
  Transformer(const layers::Build& build, config::Recompute recompute);

  /// Clears the sums of an optimizer step (or of an evaluation).
  void begin_step(layers::Ctx& ctx);
  /// One micro-batch: adds its loss to loss_sum() and its gradients to the table.
  void forward_backward(layers::Ctx& ctx);
  /// One micro-batch's loss alone, added to loss_sum(); per_token [T] may be absent.
  void evaluate(layers::Ctx& ctx, Tensor per_token = {});
  /// Logits [rows, V] of tokens [first, first + rows) of ctx.tokens; all are run through the model.
  /// Precondition: no context or tensor ranks.
  void logits(layers::Ctx& ctx, std::int64_t first, Tensor logits);
  /// After the last micro-batch of a training step.
  void end_step(layers::Ctx& ctx);

  /// Sum of token losses in nats since begin_step, on this context rank; [1] f64.
  Tensor loss_sum() const { return loss_.sum; }
  /// Router totals of each MoE layer, in layer order.
  std::vector<layers::RouterTotals> router_totals() const;

 private:
  /// Embedding to final norm; the result [T, D] lives in ctx.saved.
  Tensor forward(layers::Ctx& ctx);
  void take_depth_states(layers::Ctx& ctx) const;
  void backward(layers::Ctx& ctx, Tensor d);
  void look_up(layers::Ctx& ctx, Tensor y) const;
  void embed(layers::Ctx& ctx, Tensor h) const;
  void embed_backward(layers::Ctx& ctx, Tensor d) const;

  std::int64_t width_, vocab_begin_;
  DType dtype_, residual_dtype_;
  std::int64_t depth_states_ = 0;  // routers that hand on a state of depth_width_ channels
  std::int64_t depth_width_ = 0;
  core::Param& embedding_;
  std::optional<layers::ResidualScale> input_scale_;  // of embeddings, with model.residual_scale
  std::vector<std::unique_ptr<layers::Block>> blocks_;
  layers::RmsNorm final_norm_;
  LmHead head_;
  LossOut loss_;
  struct {
    Tensor sum, rstd;  // input of the final norm
  } saved_;
};

}  // namespace strait::model
