#pragma once

#include <string>

#include "kernels/qk_norm_rope.h"
#include "layers/attention/core.h"
#include "layers/linear.h"

namespace strait::layers {

/// Grouped-query attention (arXiv 2305.13245): G key/value heads shared by H query heads. G = H is
/// multi-head attention, G = 1 multi-query. Optional RMS norm per query and key head (Qwen3).
class GqaAttention final : public Layer {
 public:
  GqaAttention(const Build& build, const std::string& name);
  void forward(Ctx& ctx, ConstTensor x, Tensor y) override;
  void backward(Ctx& ctx, ConstTensor dy, Tensor dx) override;

 private:
  /// q or k: its heads inside the fused projection, its norm weight.
  struct Side {
    std::int64_t begin = 0;  // first channel in the fused projection
    std::int64_t heads = 0;
    core::Param* norm = nullptr;
  };
  struct SideSaved {
    Tensor raw;   // [T, heads, d] view of the projection
    Tensor out;   // [T, heads, d]; raw itself when there is no norm
    Tensor rstd;  // [T, heads]
  };
  Side make_side(const Build& build, const std::string& name, std::int64_t begin,
                 std::int64_t heads) const;
  SideSaved norm_rope(Ctx& ctx, const Side& side, Tensor qkv) const;
  /// In place: gradient of the side's output becomes that of the projection.
  void norm_rope_backward(Ctx& ctx, const Side& side, const SideSaved& saved, Tensor d) const;
  Tensor heads_of(Tensor qkv, std::int64_t begin, std::int64_t heads) const;

  std::int64_t head_dim_;
  bool qk_norm_;
  double eps_;
  kernels::Rope rope_;
  Linear qkv_;
  Linear o_;
  Side q_, k_, v_;
  AttentionCore core_;
  struct {
    ConstTensor x;  // [T, D]
    SideSaved q, k;
    Tensor out;  // [T, H d]
  } saved_;
};

}  // namespace strait::layers
