#include "model/lm_head.h"

#include <algorithm>
#include <limits>

#include "kernels/cross_entropy.h"
#include "kernels/elementwise.h"
#include "kernels/gemm.h"
#include "kernels/profile.h"

namespace strait::model {

using kernels::launch;
using layers::Ctx;

namespace {

core::Param& head_weight(const layers::Build& build, core::Param& embedding) {
  if (build.model.tie_embeddings) return embedding;
  return build.table.add({.name = "lm_head.weight",
                          .shape = {build.model.vocab_size, build.model.d_model},
                          .init = core::Init::normal(build.model.init_std),
                          .decay = true,
                          .whole_grad = true});
}

/// Losses of some rows without their gradient.
void add_losses(Ctx& ctx, ConstTensor logits, ConstTensor labels, const LossOut& out) {
  const core::Frame frame(ctx.scratch);
  const std::int64_t rows = logits.shape[0];
  const DType stat = kernels::stat_dtype(logits.dtype);
  const Tensor stats = ctx.scratch.take(stat, {rows, 3}), lse = ctx.scratch.take(stat, {rows});
  launch(kernels::Fill{.x = stats, .value = 0}, ctx.stream);
  launch(
      kernels::Fill{.x = stats.slice(1, 0, 1), .value = -std::numeric_limits<double>::infinity()},
      ctx.stream);
  launch(kernels::CrossEntropyStats{.logits = logits, .labels = labels, .stats = stats},
         ctx.stream);
  launch(
      kernels::CrossEntropyLoss{
          .stats = stats, .labels = labels, .lse = lse, .loss = out.per_token, .loss_sum = out.sum},
      ctx.stream);
}

}  // namespace

LmHead::LmHead(const layers::Build& build, core::Param& embedding, std::int64_t logits_elements)
    : weight_(head_weight(build, embedding)), logits_elements_(logits_elements) {}

std::int64_t LmHead::chunk_rows(std::int64_t tokens) const {
  constexpr std::int64_t kTile = 128;
  const std::int64_t most =
      std::clamp<std::int64_t>(logits_elements_ / weight_.spec.shape[0], 1, tokens);
  // Chunks of one size, if that can be whole tiles of a matrix product.
  const std::int64_t chunks = (tokens + most - 1) / most;
  const std::int64_t tiles = ((tokens + chunks - 1) / chunks + kTile - 1) / kTile;
  return std::min(tiles * kTile, most);
}

void LmHead::logits(Ctx& ctx, ConstTensor x, Tensor logits) const {
  launch(kernels::Gemm{.a = x, .b = weight_.weight, .c = logits, .trans_b = true}, ctx.stream);
}

void LmHead::loss(Ctx& ctx, ConstTensor x, const LossOut& out) const {
  run(ctx, x, out, {});
}

void LmHead::loss_and_gradient(Ctx& ctx, ConstTensor x, const LossOut& out, Tensor dx) const {
  run(ctx, x, out, dx);
}

void LmHead::run(Ctx& ctx, ConstTensor x, const LossOut& out, Tensor dx) const {
  const kernels::Range range("head and loss");
  const core::Frame frame(ctx.scratch);
  const std::int64_t tokens = x.shape[0], rows = chunk_rows(tokens);
  const Tensor chunk = ctx.scratch.take(x.dtype, {rows, weight_.spec.shape[0]});
  for (std::int64_t begin = 0; begin < tokens; begin += rows) {
    const std::int64_t n = std::min(rows, tokens - begin);
    const ConstTensor xs = x.slice(0, begin, n);
    const ConstTensor labels = ctx.tokens->labels.slice(0, begin, n);
    const Tensor scores = chunk.slice(0, 0, n);
    const LossOut part{out.sum,
                       out.per_token.defined() ? out.per_token.slice(0, begin, n) : Tensor{}};
    logits(ctx, xs, scores);
    if (!dx.defined()) {
      add_losses(ctx, scores, labels, part);
      continue;
    }
    launch(kernels::CrossEntropyRows{.logits = scores,
                                     .labels = labels,
                                     .loss = part.per_token,
                                     .loss_sum = part.sum,
                                     .scale = ctx.scale.per_token},
           ctx.stream);
    launch(kernels::Gemm{.a = scores, .b = weight_.weight, .c = dx.slice(0, begin, n)}, ctx.stream);
    launch(kernels::Gemm{.a = scores,
                         .b = xs,
                         .c = weight_.grad,
                         .trans_a = true,
                         .accumulate = weight_.adds_gradient()},
           ctx.stream);
  }
}

}  // namespace strait::model
