#pragma once

#include <optional>
#include <string>

#include "layers/dense_ffn.h"
#include "layers/moe/experts.h"
#include "layers/moe/router.h"

namespace strait::layers {

/// Dropless mixture of experts: route, sort tokens by expert, run the experts, combine by weight;
/// shared experts see every token and are one dense feed-forward of n_shared * d_expert.
class MoeFfn final : public Layer {
 public:
  MoeFfn(const Build& build, const std::string& name);
  void begin_step(Ctx& ctx) override { router_.begin_step(ctx); }
  void forward(Ctx& ctx, ConstTensor x, Tensor y) override;
  void backward(Ctx& ctx, ConstTensor dy, Tensor dx) override;
  void end_step(Ctx& ctx) override { router_.end_step(ctx); }

  const RouterTotals& router_totals() const { return router_.totals(); }

 private:
  Tensor sorted_rows(Ctx& ctx, ConstTensor x) const;
  /// First row of each expert, and of those that skip.
  Tensor expert_offsets() const;
  /// Zeros where no expert will write.
  void clear_skipped(Ctx& ctx, Tensor rows) const;

  std::int64_t n_experts_, top_k_;
  Router router_;
  Experts experts_;
  std::optional<DenseFfn> shared_;
  struct {
    ConstTensor x;  // [T, D]
    Routing routing;
    Tensor offsets, row_of, choice_of;
    Tensor out;  // [N, D] expert outputs, N = T K
  } saved_;
};

}  // namespace strait::layers
