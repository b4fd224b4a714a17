#pragma once

#include "layers/moe/experts.h"
#include "parallel/expert_exchange.h"

namespace strait::layers {

/// Experts on several ranks of the ep axis. A rank's own rows run while those of the others are on
/// their way, and a block's results leave while the next block runs (parallel/expert_exchange.h).
class ExpertRanks {
 public:
  explicit ExpertRanks(Experts& experts) : experts_(experts) {}

  /// offsets [E + 1] i32 of this rank's N sorted rows. Waits for the stream.
  void agree(Ctx& ctx, ConstTensor offsets, std::int64_t rows);
  /// rows, out [N, D], sorted by expert. Keeps the hidden activations.
  void forward(Ctx& ctx, const Tensor& rows, const Tensor& out);
  /// Sends the rows of forward again, which backward takes with what this returns.
  Tensor send_again(Ctx& ctx, const Tensor& rows) const;
  /// drows [N, D] assigned from the results' gradients.
  void backward(Ctx& ctx, const Tensor& rows, const Tensor& received, const Tensor& dout,
                const Tensor& drows);

 private:
  /// Scratch for rows like these from all ranks.
  Tensor from_all(Ctx& ctx, const Tensor& like, std::int64_t width) const;

  Experts& experts_;
  parallel::ExpertExchange exchange_;
};

}  // namespace strait::layers
