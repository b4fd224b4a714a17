#pragma once

#include "layers/layer.h"

namespace strait::model {

/// Sums of a micro-batch's (or step's) token losses.
struct LossOut {
  Tensor sum;             // [1] f64, accumulated, nats
  Tensor per_token = {};  // [T] stat dtype, or absent
};

/// Vocabulary projection and cross-entropy, in chunks of tokens so that the logits of a whole
/// micro-batch never exist. A chunk's logits exist once, so its gradient is taken in the same pass.
/// Tensor ranks share out the vocabulary; what they tell each other are three numbers a row.
class LmHead {
 public:
  /// Logits held at once, 1 GiB in bf16, and tokens. Every chunk reads and writes the whole weight
  /// gradient, so its rows must pay for that: 4,096 take a quarter less time than 667, more gain
  /// nothing (kernels/NOTES.md).
  static constexpr std::int64_t kLogitsElements = std::int64_t{1} << 29, kMostRows = 4096;

  /// Shares `embedding`'s weight when model.tie_embeddings, else registers "lm_head.weight".
  /// A chunk holds at most `logits_elements` logits, but at least one token.
  LmHead(const layers::Build& build, core::Param& embedding,
         std::int64_t logits_elements = kLogitsElements);

  /// Adds up the losses of x [T, D], this rank's rows, against ctx.tokens->labels; the sum is over
  /// the rows of all tensor ranks.
  void loss(layers::Ctx& ctx, ConstTensor x, const LossOut& out) const;
  /// As loss; also dx [T, D] (assigned) and the weight gradient of ctx.scale.per_token * loss.
  void loss_and_gradient(layers::Ctx& ctx, ConstTensor x, const LossOut& out, Tensor dx) const;
  /// logits [T, V] of x [T, D]; the columns of this tensor rank.
  void logits(layers::Ctx& ctx, ConstTensor x, Tensor logits) const;

  /// Tokens of one chunk out of `tokens`.
  std::int64_t chunk_rows(std::int64_t tokens) const;

 private:
  void run(layers::Ctx& ctx, ConstTensor rows_x, const LossOut& out, Tensor rows_dx) const;
  void run_chunks(layers::Ctx& ctx, ConstTensor x, const LossOut& out, Tensor dx) const;
  Tensor add_losses(layers::Ctx& ctx, ConstTensor logits, ConstTensor labels,
                    const LossOut& out) const;
  void differentiate(layers::Ctx& ctx, Tensor logits, ConstTensor labels, const LossOut& out) const;

  core::Param& weight_;               // [V, D]
  std::int64_t vocab_, vocab_begin_;  // rows of it on this rank
  std::int64_t logits_elements_;
};

}  // namespace strait::model
