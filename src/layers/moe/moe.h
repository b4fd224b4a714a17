#pragma once

#include <optional>
#include <string>

#include "kernels/norm.h"
#include "kernels/permute.h"
#include "layers/dense_ffn.h"
#include "layers/moe/expert_ranks.h"
#include "layers/moe/router.h"

namespace strait::layers {

/// Dropless mixture of experts: route, sort tokens by expert, run the experts, combine by weight;
/// shared experts see every token and are one dense feed-forward of n_shared * d_expert. Rows are
/// routed where they are; they go to their experts' ranks or, without expert ranks, every tensor
/// rank runs its part of each expert on all rows.
class MoeFfn final : public Layer {
 public:
  MoeFfn(const Build& build, const std::string& name);
  void begin_step(Ctx& ctx) override { router_.begin_step(ctx); }
  void forward(Ctx& ctx, ConstTensor x, Tensor y) override;
  /// forward without its last step, adding up, where that can be had: y is what shared experts
  /// make, if there are such, and the rest of the result is in rows that stay as what backward
  /// needs does.
  kernels::ExpertRows forward_rows(Ctx& ctx, ConstTensor x, Tensor y);
  bool leaves_rows() const { return !direct_ && !gathers_; }
  bool has_shared() const { return shared_.has_value(); }
  void backward(Ctx& ctx, ConstTensor dy, Tensor dx) override;
  void end_step(Ctx& ctx) override { router_.end_step(ctx); }

  const RouterTotals& router_totals() const { return router_.totals(); }

 private:
  /// The rows of all tensor ranks where each has a part of every expert, else x.
  ConstTensor gathered(Ctx& ctx, ConstTensor x) const;
  void route(Ctx& ctx, ConstTensor x, Tensor y);
  void sort(Ctx& ctx);
  void forward_direct(Ctx& ctx, Tensor y);
  void backward_direct(Ctx& ctx, ConstTensor dy, Tensor dx);
  Tensor sorted_rows(Ctx& ctx, ConstTensor x) const;
  void run_experts(Ctx& ctx, const Tensor& rows, const Tensor& out);
  void combine(Ctx& ctx, kernels::MoeCombineFwd op) const;
  /// First row of each expert, and of those that skip.
  Tensor expert_offsets() const;
  /// Zeros where no expert will write.
  void clear_skipped(Ctx& ctx, Tensor rows) const;

  std::int64_t n_experts_, top_k_, expert_ranks_;
  bool gathers_;
  bool direct_;  // one expert a token, here: no pass between rows and tokens
  Router router_;
  Experts experts_;
  std::optional<DenseFfn> shared_;
  ExpertRanks ranks_;
  struct {
    ConstTensor x;  // [T, D]
    Routing routing;
    Tensor offsets, row_of, choice_of;
    Tensor out;   // [N, D] expert outputs, N = T K; not kept where they go to tokens directly
    Tensor rows;  // [T, D] sorted, kept there
  } saved_;
};

}  // namespace strait::layers
