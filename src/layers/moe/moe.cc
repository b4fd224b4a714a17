#include "layers/moe/moe.h"

#include <utility>

#include "kernels/elementwise.h"
#include "parallel/tensor_split.h"

namespace strait::layers {

using kernels::launch;

MoeFfn::MoeFfn(const Build& build, const std::string& name)
    : n_experts_(build.model.ffn.moe.n_experts),
      top_k_(build.model.ffn.moe.top_k),
      expert_ranks_(build.mesh.ep),
      gathers_(!build.whole_experts()),
      direct_(top_k_ == 1 && !gathers_ && expert_ranks_ == 1),
      router_(build, name + ".router"),
      experts_(build, name + ".experts"),
      ranks_(experts_) {
  const config::Moe& moe = build.model.ffn.moe;
  if (moe.n_shared > 0) shared_.emplace(build, name + ".shared", moe.n_shared * moe.d_expert);
}

ConstTensor MoeFfn::gathered(Ctx& ctx, ConstTensor x) const {
  return gathers_ ? parallel::whole_rows(ctx, x) : x;
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

void MoeFfn::sort(Ctx& ctx) {
  const ConstTensor expert = gathered(ctx, saved_.routing.expert);
  const std::int64_t tokens = expert.shape[0];
  saved_.offsets = ctx.saved.take(DType::i32, {router_.classes() + 1});
  saved_.row_of = ctx.saved.take(DType::i32, {tokens, top_k_});
  saved_.choice_of = ctx.saved.take(DType::i32, {tokens * top_k_});
  launch(kernels::MoeSort{.expert = expert,
                          .offsets = saved_.offsets,
                          .row_of = saved_.row_of,
                          .choice_of = saved_.choice_of},
         ctx.stream);
  if (expert_ranks_ > 1) ranks_.agree(ctx, expert_offsets(), saved_.choice_of.shape[0]);
}

void MoeFfn::run_experts(Ctx& ctx, const Tensor& rows, const Tensor& out) {
  if (expert_ranks_ > 1) return ranks_.forward(ctx, rows, out);
  experts_.forward(ctx, rows, expert_offsets(), {.y = out});
}

/// Chooses and sorts; y is what shared experts make, if there are such.
void MoeFfn::route(Ctx& ctx, ConstTensor x, Tensor y) {
  saved_.x = x;
  saved_.routing = router_.forward(ctx, x);
  sort(ctx);
  if (shared_) shared_->forward(ctx, x, y);
}

kernels::ExpertRows MoeFfn::forward_rows(Ctx& ctx, ConstTensor x, Tensor y) {
  const core::Frame frame(ctx.scratch);
  route(ctx, x, y);
  saved_.out = ctx.saved.take(x.dtype, {saved_.choice_of.shape[0], x.shape[1]});
  clear_skipped(ctx, saved_.out);
  run_experts(ctx, sorted_rows(ctx, gathered(ctx, x)), saved_.out);
  return {saved_.out, saved_.row_of, saved_.routing.weight};
}

void MoeFfn::forward(Ctx& ctx, ConstTensor x, Tensor y) {
  const core::Frame frame(ctx.scratch);
  if (direct_) {
    route(ctx, x, y);
    return forward_direct(ctx, y);
  }
  const kernels::ExpertRows rows = forward_rows(ctx, x, y);
  combine(ctx, {.x = rows.rows,
                .row_of = rows.row_of,
                .weight = gathered(ctx, rows.weight),
                .base = shared_ ? y : Tensor{},
                .y = y});
}

/// y = base + sums of rows; where tensor ranks have a term each, those are added up.
void MoeFfn::combine(Ctx& ctx, kernels::MoeCombineFwd op) const {
  if (!gathers_) return launch(op, ctx.stream);
  const core::Frame frame(ctx.scratch);
  const Tensor y = op.y;
  const ConstTensor base = std::exchange(op.base, {});
  op.y = parallel::terms_of(ctx, y);
  launch(op, ctx.stream);
  if (!base.defined()) return parallel::summed_rows(ctx, op.y, y);
  const Tensor sum = ctx.scratch.take(y.dtype, {y.shape[0], y.shape[1]});
  parallel::summed_rows(ctx, op.y, sum);
  launch(kernels::Add{.a = base, .b = sum, .y = y}, ctx.stream);
}

/// One row a token: what an expert computes goes to its token at once.
void MoeFfn::forward_direct(Ctx& ctx, Tensor y) {
  if (!shared_) clear_skipped(ctx, y);
  const ConstTensor weight = saved_.routing.weight;
  saved_.rows = ctx.saved.take(y.dtype, {y.shape[0], y.shape[1]});
  launch(kernels::MoePermute{.x = saved_.x, .choice_of = saved_.choice_of, .y = saved_.rows},
         ctx.stream);
  experts_.forward(ctx, saved_.rows, expert_offsets(),
                   {.y = y,
                    .to = saved_.choice_of,
                    .scale = weight.view({weight.shape[0]}),
                    .add = shared_.has_value()});
}

void MoeFfn::backward_direct(Ctx& ctx, ConstTensor dy, Tensor dx) {
  const Tensor dgate_up = ctx.scratch.take(dy.dtype, {dy.shape[0], 2 * experts_.width()});
  const Tensor dweight = ctx.scratch.take(saved_.routing.weight.dtype, {dy.shape[0], 1});
  experts_.backward_weighted(ctx, saved_.rows, sorted_rows(ctx, dy), expert_offsets(),
                             saved_.choice_of, saved_.routing.weight, dgate_up, dweight);
  if (router_.has_input_term()) {
    const Router::InputTerm term = router_.backward_term(ctx, dweight, saved_.row_of);
    experts_.input_gradient(ctx, dgate_up, expert_offsets(), saved_.choice_of,
                            {.rows = term.rows, .matrix = term.matrix}, dx);
  } else {
    router_.backward(ctx, dweight, dx);
    experts_.input_gradient(ctx, dgate_up, expert_offsets(), saved_.choice_of, {}, dx);
  }
  if (shared_) shared_->backward_add(ctx, dy, dx);
}

void MoeFfn::backward(Ctx& ctx, ConstTensor dy_rows, Tensor dx) {
  const core::Frame frame(ctx.scratch);
  if (direct_) return backward_direct(ctx, dy_rows, dx);
  const ConstTensor dy = gathered(ctx, dy_rows), weight = gathered(ctx, saved_.routing.weight);
  const Tensor rows = sorted_rows(ctx, gathered(ctx, saved_.x));
  const Tensor received = expert_ranks_ > 1 ? ranks_.send_again(ctx, rows) : Tensor{};
  const Tensor drows = ctx.scratch.take(dy.dtype, {saved_.choice_of.shape[0], dy.shape[1]});
  const Tensor dweight = ctx.scratch.take(saved_.routing.weight.dtype, {dx.shape[0], top_k_});
  const Tensor dweight_terms = gathers_ ? parallel::terms_of(ctx, dweight) : dweight;
  launch(kernels::MoeCombineBwd{.dy = dy,
                                .x = saved_.out,
                                .choice_of = saved_.choice_of,
                                .weight = weight,
                                .dx = drows,
                                .dweight = dweight_terms},
         ctx.stream);
  if (gathers_) parallel::summed_rows(ctx, dweight_terms, dweight);
  const Tensor dsorted = ctx.scratch.take(dy.dtype, {drows.shape[0], drows.shape[1]});
  clear_skipped(ctx, dsorted);
  if (expert_ranks_ > 1) {
    ranks_.backward(ctx, rows, received, drows, dsorted);
  } else {
    experts_.backward(ctx, rows, drows, expert_offsets(), dsorted);
  }
  router_.backward(ctx, dweight, dx);
  combine(ctx, {.x = dsorted, .row_of = saved_.row_of, .base = dx, .y = dx});
  if (shared_) shared_->backward_add(ctx, dy_rows, dx);
}

}  // namespace strait::layers
