#include "model/lm_head.h"

#include <algorithm>
#include <limits>

#include "kernels/cross_entropy.h"
#include "kernels/elementwise.h"
#include "kernels/gemm.h"
#include "kernels/profile.h"
#include "parallel/tensor_split.h"

namespace strait::model {

using kernels::launch;
using layers::Ctx;

namespace {

core::Param& head_weight(const layers::Build& build, core::Param& embedding) {
  if (build.model.tie_embeddings) return embedding;
  return build.table.add({.name = "lm_head.weight",
                          .shape = {build.model.vocab_size, build.model.d_model},
                          .shard = build.over_vocabulary(),
                          .init = core::Init::normal(build.model.init_std),
                          .decay = true,
                          .whole_grad = true});
}

}  // namespace

LmHead::LmHead(const layers::Build& build, core::Param& embedding, std::int64_t logits_elements)
    : weight_(head_weight(build, embedding)),
      vocab_(weight_.local_shape[0]),
      vocab_begin_(build.model.vocab_size * build.mesh.tp_rank / build.mesh.tp),
      logits_elements_(logits_elements) {}

std::int64_t LmHead::chunk_rows(std::int64_t tokens) const {
  constexpr std::int64_t kTile = 128;
  const std::int64_t most =
      std::clamp<std::int64_t>(logits_elements_ / vocab_, 1, std::min(tokens, kMostRows));
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

/// Log-sum-exp of a chunk's rows over the whole vocabulary, and their losses.
Tensor LmHead::add_losses(Ctx& ctx, ConstTensor logits, ConstTensor labels,
                          const LossOut& out) const {
  const std::int64_t rows = logits.shape[0];
  const DType stat = kernels::stat_dtype(logits.dtype);
  const Tensor lse = ctx.scratch.take(stat, {rows}), stats = ctx.scratch.take(stat, {rows, 3});
  launch(kernels::Fill{.x = stats, .value = 0}, ctx.stream);
  launch(
      kernels::Fill{.x = stats.slice(1, 0, 1), .value = -std::numeric_limits<double>::infinity()},
      ctx.stream);
  launch(
      kernels::CrossEntropyStats{
          .logits = logits, .labels = labels, .stats = stats, .vocab_begin = vocab_begin_},
      ctx.stream);
  parallel::Communicator& group = ctx.groups.axis(core::Axis::tp);
  if (!group.alone()) {
    const Tensor parts = ctx.scratch.take(stat, {group.size(), rows, 3});
    group.all_gather(stats, parts, ctx.stream, "tp cross-entropy");
    launch(kernels::CrossEntropyMerge{.parts = parts, .stats = stats}, ctx.stream);
  }
  launch(
      kernels::CrossEntropyLoss{
          .stats = stats, .labels = labels, .lse = lse, .loss = out.per_token, .loss_sum = out.sum},
      ctx.stream);
  return lse;
}

/// The logits become their gradient.
void LmHead::differentiate(Ctx& ctx, Tensor logits, ConstTensor labels, const LossOut& out) const {
  if (ctx.groups.axis(core::Axis::tp).alone()) {
    return launch(kernels::CrossEntropyRows{.logits = logits,
                                            .labels = labels,
                                            .loss = out.per_token,
                                            .loss_sum = out.sum,
                                            .scale = ctx.scale.per_token},
                  ctx.stream);
  }
  const core::Frame frame(ctx.scratch);
  launch(kernels::CrossEntropyBwd{.logits = logits,
                                  .labels = labels,
                                  .lse = add_losses(ctx, logits, labels, out),
                                  .dlogits = logits,
                                  .vocab_begin = vocab_begin_,
                                  .scale = ctx.scale.per_token},
         ctx.stream);
}

void LmHead::run(Ctx& ctx, ConstTensor rows_x, const LossOut& out, Tensor rows_dx) const {
  const kernels::Range range("head and loss");
  const core::Frame frame(ctx.scratch);
  const ConstTensor x = parallel::whole_rows(ctx, rows_x);
  const Tensor dx = rows_dx.defined() ? parallel::terms_of(ctx, rows_dx) : rows_dx;
  run_chunks(ctx, x, out, dx);
  if (dx.defined()) parallel::summed_rows(ctx, dx, rows_dx);
}

void LmHead::run_chunks(Ctx& ctx, ConstTensor x, const LossOut& out, Tensor dx) const {
  const core::Frame frame(ctx.scratch);
  const std::int64_t tokens = x.shape[0], rows = chunk_rows(tokens);
  const Tensor chunk = ctx.scratch.take(x.dtype, {rows, vocab_});
  for (std::int64_t begin = 0; begin < tokens; begin += rows) {
    const std::int64_t n = std::min(rows, tokens - begin);
    const ConstTensor xs = x.slice(0, begin, n);
    const ConstTensor labels = ctx.tokens->labels.slice(0, begin, n);
    const Tensor scores = chunk.slice(0, 0, n);
    const LossOut part{out.sum,
                       out.per_token.defined() ? out.per_token.slice(0, begin, n) : Tensor{}};
    logits(ctx, xs, scores);
    if (!dx.defined()) {
      const core::Frame inner(ctx.scratch);
      add_losses(ctx, scores, labels, part);
      continue;
    }
    differentiate(ctx, scores, labels, part);
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
