#pragma once

#include <string>

#include "kernels/cca.h"
#include "layers/attention/core.h"
#include "layers/linear.h"
#include "parallel/halo.h"

namespace strait::layers {

/// Compressed Convolutional Attention (arXiv 2510.04476): attention inside a latent of H query and
/// G key/value heads, mixed along the sequence by two causal convolutions, qk-mean and value shift.
/// H = G is CCA, H > G CCGQA. Tensor ranks share out the heads of the latent, so the mix of a rank
/// needs no other; context ranks hand each other the ends of their chunks (parallel/halo.h).
class CcaAttention final : public Layer {
 public:
  CcaAttention(const Build& build, const std::string& name);
  void forward(Ctx& ctx, ConstTensor x, Tensor y) override;
  void backward(Ctx& ctx, ConstTensor dy, Tensor dx) override;

  /// The softmax attention inside; it shows q, k and v of the last forward.
  const AttentionCore& core() const { return core_; }

 private:
  /// Parameters of the mix; absent ones are null (see the switches).
  struct MixParams {
    core::Param* w0 = nullptr;    // [n0, (H + G) d]
    core::Param* b0 = nullptr;    // [(H + G) d]
    core::Param* w1 = nullptr;    // [H + G, n1 d, d]
    core::Param* b1 = nullptr;    // [H + G, d]
    core::Param* temp = nullptr;  // [G]
  };
  static MixParams make_mix_params(const Build& build, const std::string& name);
  /// The fused projection [T, (H + 2 G) d] and its parts z, v_cur, v_del.
  struct Projection {
    Tensor whole, z, v_cur, v_del;
  };
  Projection parts_of(Tensor projection) const;
  /// Of the mix: to the parts of dproj, and the gradients of its parameters.
  void mix_backward(Ctx& ctx, ConstTensor dq, ConstTensor dk, ConstTensor dv,
                    const Projection& dproj);
  /// What decoding keeps of the tokens before: inputs of the convolutions, delayed values.
  parallel::Halo halo_of(parallel::DecodeCache& cache, DType dtype) const;
  void remember(Ctx& ctx) const;
  void show(parallel::Probe& probe) const;

  std::int64_t heads_, kv_heads_, head_dim_;  // of this rank
  std::int64_t delayed_;                      // value channels taken from the previous token
  std::int64_t history_;                      // columns of z that the convolutions look back
  kernels::CcaMixSwitches switches_;
  kernels::Rope rope_;
  Linear proj_;
  MixParams mix_;
  Linear o_;
  AttentionCore core_;
  struct {
    ConstTensor x;
    Projection proj;
    parallel::Halo halo;
    Tensor out;  // [T, H d]
  } saved_;
};

}  // namespace strait::layers
