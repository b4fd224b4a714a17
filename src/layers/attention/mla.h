#pragma once

#include <optional>
#include <string>

#include "kernels/qk_norm_rope.h"
#include "layers/attention/core.h"
#include "layers/linear.h"
#include "layers/rms_norm.h"

namespace strait::layers {

/// Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434). Per head: n unrotated and r rotated
/// key channels, the rotated key shared by all heads; queries from a latent of width cq (or
/// straight from x when cq is 0), keys and values from a latent of width ckv. No absorption:
/// training form. Tensor ranks share out the heads, and the rows that they bring down to latents:
/// it is latents they gather, and gradients of latents they add up, narrower than the model.
class MlaAttention final : public Layer {
 public:
  MlaAttention(const Build& build, const std::string& name);
  void forward(Ctx& ctx, ConstTensor x, Tensor y) override;
  void backward(Ctx& ctx, ConstTensor dy, Tensor dx) override;

 private:
  /// RMS norm of a latent, then its up-projection.
  struct Latent {
    std::int64_t begin, width;  // channels in the down-projection
    RmsNorm norm;
    Linear up;
    struct {
      Tensor in, normed, rstd;
    } saved;
    Latent(const Build& build, const std::string& name, const std::string& up_name,
           std::int64_t begin, std::int64_t width, std::int64_t out);
    Tensor forward(Ctx& ctx, Tensor down);
    /// dup [T, out] -> its slice of ddown, assigned.
    void backward(Ctx& ctx, ConstTensor dup, Tensor ddown);
  };
  /// Queries that attend, the rows they are among, and the rows their keys and values come from.
  struct Inside {
    Tensor q;          // [T, H, dk]
    Tensor q_rows;     // [U, H, dk], rotated in place
    Tensor down;       // [U, q | ckv | r]
    Tensor positions;  // [U] i32
  };
  /// Latents [T, q | ckv | r] of all rows, in ctx.saved.
  Tensor latents(Ctx& ctx, ConstTensor rows) const;
  /// dx assigned; ddown is this rank's heads' term, overwritten.
  void latents_backward(Ctx& ctx, const Tensor& ddown, Tensor dx) const;
  /// dx += the gradient of queries that come straight from x.
  void straight_backward(Ctx& ctx, ConstTensor dq, Tensor dx) const;
  Tensor query_up(Ctx& ctx, ConstTensor x, Tensor down);
  void attend(Ctx& ctx, const Inside& in, Tensor out);
  /// The cache keeps latents; keys and values are made anew from them.
  void attend_to_cache(Ctx& ctx, Tensor q, Tensor down, Tensor out);

  config::Mla dims_;
  std::int64_t heads_;  // of this rank
  kernels::Rope rope_;
  Linear down_;  // [q latent, if there is one | kv latent | rope key]
  std::optional<Latent> q_;
  std::optional<Linear> straight_q_;  // queries from x, without a latent
  Latent kv_;
  Linear o_;
  AttentionCore core_;
  struct {
    ConstTensor x;
    Tensor out;  // [T, H dv]
  } saved_;
};

}  // namespace strait::layers
