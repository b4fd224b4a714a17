#include "layers/moe/moe.h"

#include "kernels/elementwise.h"
#include "kernels/permute.h"

namespace strait::layers {

using kernels::launch;

MoeFfn::MoeFfn(const Build& build, const std::string& name)
    : n_experts_(build.model.ffn.moe.n_experts),
      top_k_(build.model.ffn.moe.top_k),
      router_(build, name + ".router"),
      experts_(build, name + ".experts") {
  const config::Moe& moe = build.model.ffn.moe;
  if (moe.n_shared > 0) shared_.emplace(build, name + ".shared", moe.n_shared * moe.d_expert);
}

Tensor MoeFfn::sorted_rows(Ctx& ctx, ConstTensor x) const {
  const Tensor rows = ctx.scratch.take(x.dtype, {saved_.choice_of.shape[0], x.shape[1]});
  launch(kernels::MoePermute{.x = x, .choice_of = saved_.choice_of, .y = rows}, ctx.stream);
  return rows;
}

Tensor MoeFfn::expert_offsets() const {
  return saved_.offsets.slice(0, 0, n_experts_ + 1);
}

void MoeFfn::clear_skipped(Ctx& ctx, Tensor rows) const {
  // How many rows skip is known on the device alone; they are the last ones.
  if (router_.classes() > n_experts_) launch(kernels::Fill{.x = rows, .value = 0}, ctx.stream);
}

void MoeFfn::forward(Ctx& ctx, ConstTensor x, Tensor y) {
  const core::Frame frame(ctx.scratch);
  const std::int64_t tokens = x.shape[0], rows = tokens * top_k_;
  saved_.x = x;
  saved_.routing = router_.forward(ctx, x);
  saved_.offsets = ctx.saved.take(DType::i32, {router_.classes() + 1});
  saved_.row_of = ctx.saved.take(DType::i32, {tokens, top_k_});
  saved_.choice_of = ctx.saved.take(DType::i32, {rows});
  saved_.out = ctx.saved.take(x.dtype, {rows, x.shape[1]});
  launch(kernels::MoeSort{.expert = saved_.routing.expert,
                          .offsets = saved_.offsets,
                          .row_of = saved_.row_of,
                          .choice_of = saved_.choice_of},
         ctx.stream);
  clear_skipped(ctx, saved_.out);
  experts_.forward(ctx, sorted_rows(ctx, x), expert_offsets(), saved_.out);
  if (shared_) shared_->forward(ctx, x, y);
  launch(kernels::MoeCombineFwd{.x = saved_.out,
                                .row_of = saved_.row_of,
                                .weight = saved_.routing.weight,
                                .base = shared_ ? y : Tensor{},
                                .y = y},
         ctx.stream);
}

void MoeFfn::backward(Ctx& ctx, ConstTensor dy, Tensor dx) {
  const core::Frame frame(ctx.scratch);
  const Tensor drows = ctx.scratch.take(dy.dtype, {saved_.choice_of.shape[0], dy.shape[1]});
  const Tensor dweight = ctx.scratch.take(saved_.routing.weight.dtype, {dy.shape[0], top_k_});
  launch(kernels::MoeCombineBwd{.dy = dy,
                                .x = saved_.out,
                                .choice_of = saved_.choice_of,
                                .weight = saved_.routing.weight,
                                .dx = drows,
                                .dweight = dweight},
         ctx.stream);
  const Tensor dsorted = ctx.scratch.take(dy.dtype, {drows.shape[0], drows.shape[1]});
  clear_skipped(ctx, dsorted);
  experts_.backward(ctx, sorted_rows(ctx, saved_.x), drows, expert_offsets(), dsorted);
  router_.backward(ctx, dweight, dx);
  launch(kernels::MoeCombineFwd{.x = dsorted, .row_of = saved_.row_of, .base = dx, .y = dx},
         ctx.stream);
  if (shared_) shared_->backward_add(ctx, dy, dx);
}

}  // namespace strait::layers
