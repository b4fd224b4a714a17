#pragma once

#include <memory>
#include <optional>
#include <string>

#include "layers/layer.h"
#include "layers/moe/moe.h"
#include "layers/residual_scale.h"
#include "layers/rms_norm.h"

namespace strait::layers {

/// Pre-norm decoder block: x = h + delta; a = attention(norm(x)); h' = x + a;
/// delta' = ffn(norm(h')). With model.residual_scale sums are scaled (ResidualScale).
class Block {
 public:
  Block(const Build& build, std::int64_t index, config::Recompute recompute);

  void begin_step(Ctx& ctx);
  /// Reads in, writes `delta` and returns the residual after the block. `carry` [T, D] holds h'
  /// when the block is to be recomputed; both buffers outlive the call until the next norm has read
  /// them.
  Residual forward(Ctx& ctx, const Residual& in, Tensor delta, Tensor carry);
  /// d: gradient of (h' + delta') on entry, of (h + delta) on exit.
  void backward(Ctx& ctx, Tensor d);
  void end_step(Ctx& ctx);

  /// The feed-forward when it is a mixture of experts, else null.
  const MoeFfn* moe() const { return moe_; }

 private:
  /// `build.layer` is the index.
  Block(const Build& build, config::Recompute recompute);

  /// From the first norm on. What the second branch makes is in `delta`, or in a tensor of its own
  /// where a scaled sum's backward needs it.
  Residual forward_inside(Ctx& ctx, Tensor delta);
  void attention_half(Ctx& ctx, Tensor a);
  Residual ffn_half(Ctx& ctx, Tensor delta);
  void backward_inside(Ctx& ctx, Tensor d);

  std::string name_;  // "layers.3"
  config::Recompute recompute_;
  RmsNorm attn_norm_;
  std::unique_ptr<Layer> attn_;
  RmsNorm ffn_norm_;
  std::unique_ptr<Layer> ffn_;
  MoeFfn* moe_ = nullptr;
  struct Scales {
    ResidualScale attn, ffn;
  };
  std::optional<Scales> scales_;
  struct {
    Tensor x, x_normed, x_rstd;  // input sum and its norm
    Tensor h, h_normed, h_rstd;  // after attention
    Tensor a, delta;             // outputs of the two branches, where sums are scaled
  } saved_;
};

}  // namespace strait::layers
