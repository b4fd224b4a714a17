#include "kernels/routing.h"

#include <cmath>

#include "kernels/bytes.h"
#include "kernels/wide_linear.h"

namespace strait::kernels {
namespace {

void check_real(const Checker& c, const char* field, const ConstTensor& t) {
  c.that(t.dtype == DType::f32 || t.dtype == DType::f64, field, " must be f32 or f64, got ",
         name_of(t.dtype));
}

/// A [rows, cols] tensor of routing data: packed, of the dtype of the scores unless named
/// otherwise.
void check_matrix(const Checker& c, const char* field, const ConstTensor& t, std::int64_t rows,
                  std::int64_t cols, DType dtype) {
  c.shape(field, t, {rows, cols});
  c.dtype(field, t, dtype);
  c.contiguous(field, t);
}

/// The fields that the three per-token ops share. `expert` must have between 1 and E columns.
void check_choices(const Checker& c, const ConstTensor& logits, const ConstTensor& scores,
                   const ConstTensor& expert) {
  check_real(c, "logits", logits);
  check_matrix(c, "logits", logits, Checker::kAny, Checker::kAny, logits.dtype);
  const std::int64_t tokens = logits.shape[0], experts = logits.shape[1];
  check_matrix(c, "scores", scores, tokens, experts, logits.dtype);
  check_matrix(c, "expert", expert, tokens, Checker::kAny, DType::i32);
  const std::int64_t chosen = expert.shape[1];
  c.that(chosen >= 1 && chosen <= experts, "experts per token must be in 1..", experts,
         " (experts), got ", chosen);
}

void check_rule(const Checker& c, const RouterRule& rule, std::int64_t experts,
                std::int64_t chosen) {
  c.that(std::isfinite(rule.scale), "rule.scale must be finite, got ", rule.scale);
  c.that(rule.groups >= 1 && experts % rule.groups == 0, "rule.groups must divide ", experts,
         " experts, got ", rule.groups);
  c.that(rule.top_groups >= 1 && rule.top_groups <= rule.groups, "rule.top_groups must be in 1..",
         rule.groups, " (groups), got ", rule.top_groups);
  const std::int64_t reachable = rule.top_groups * (experts / rule.groups);
  c.that(chosen <= reachable, "the kept groups hold ", reachable, " experts, ", chosen,
         " are to be chosen; raise rule.top_groups or choose fewer");
}

/// `fraction` is [R, E] with R sequences, of equal length unless `sequence` tells them apart.
void check_sequences(const Checker& c, const ConstTensor& fraction, const ConstTensor& sequence,
                     std::int64_t tokens, std::int64_t length) {
  check_matrix(c, "fraction", fraction, Checker::kAny, Checker::kAny, fraction.dtype);
  c.optional_shape("sequence", sequence, {tokens});
  c.dtype("sequence", sequence, DType::i32);
  const std::int64_t sequences = fraction.shape[0];
  if (sequence.defined()) {
    c.that(length >= 1, "length must be the tokens of a whole sequence beside sequence, got ",
           length);
    return;
  }
  c.that(sequences >= 1 && tokens >= sequences && tokens % sequences == 0,
         "fraction must have a row per sequence, dividing ", tokens, " tokens, got ", sequences,
         " rows");
}

/// Forced choices go by the place of each token in its sequence.
void check_forced(const Checker& c, const RouteFwd& op) {
  const std::int64_t tokens = op.logits.shape[0], experts = op.logits.shape[1];
  const std::int64_t forced = op.rule.forced, chosen = op.expert.shape[1];
  c.optional_shape("place", op.place, {tokens});
  c.dtype("place", op.place, DType::i32);
  c.that(forced >= 0 && forced <= experts, "rule.forced must be in 0..E (", experts, "), got ",
         forced);
  c.that(forced == 0 || forced >= chosen, "rule.forced must be 0 or at least K (", chosen,
         "), got ", forced);
  if (forced == 0 || op.place.defined()) return;
  c.that(!op.sequence.defined(), "place is needed with rule.forced beside sequence");
  c.that(op.length >= 1 && tokens % op.length == 0,
         "length must be the tokens of a sequence, dividing ", tokens,
         " tokens, with rule.forced and without place, got ", op.length);
}

void check_sum(const Checker& c, const char* field, const ConstTensor& t) {
  c.shape(field, t, {1});
  c.dtype(field, t, DType::f64);
}

}  // namespace

void check(const RouteFwd& op) {
  const Checker c(RouteFwd::kName);
  check_choices(c, op.logits, op.scores, op.expert);
  const std::int64_t tokens = op.logits.shape[0], experts = op.logits.shape[1];
  const std::int64_t chosen = op.expert.shape[1];
  check_matrix(c, "weight", op.weight, tokens, chosen, op.logits.dtype);
  c.optional_shape("bias", op.bias, {experts});
  if (op.bias.defined()) c.dtype("bias", op.bias, op.logits.dtype);
  c.shape("counts", op.counts, {experts});
  c.dtype("counts", op.counts, DType::i64);
  check_rule(c, op.rule, experts, chosen);
  c.optional_shape("sequence", op.sequence, {tokens});
  c.dtype("sequence", op.sequence, DType::i32);
  check_forced(c, op);
  c.disjoint("scores", op.scores, "logits", op.logits);
  c.disjoint("weight", op.weight, "scores", op.scores);
  if (!op.product.x.defined()) return;
  check(op.product);
  c.shape("product.y", op.product.y, {tokens, experts});
  c.that(op.product.y.data == op.logits.data, "product.y: expected the logits; pass them twice");
}

void check(const RouteFraction& op) {
  const Checker c(RouteFraction::kName);
  check_matrix(c, "expert", op.expert, Checker::kAny, Checker::kAny, DType::i32);
  check_real(c, "fraction", op.fraction);
  check_sequences(c, op.fraction, op.sequence, op.expert.shape[0], op.length);
}

void check(const RouteLosses& op) {
  const Checker c(RouteLosses::kName);
  check_real(c, "logits", op.logits);
  check_matrix(c, "logits", op.logits, Checker::kAny, Checker::kAny, op.logits.dtype);
  const std::int64_t tokens = op.logits.shape[0], experts = op.logits.shape[1];
  check_matrix(c, "scores", op.scores, tokens, experts, op.logits.dtype);
  check_matrix(c, "fraction", op.fraction, Checker::kAny, experts, op.logits.dtype);
  check_sequences(c, op.fraction, op.sequence, tokens, op.length);
  check_sum(c, "aux", op.aux);
  check_sum(c, "z", op.z);
  c.disjoint("aux", op.aux, "z", op.z);
}

void check(const RouteBwd& op) {
  const Checker c(RouteBwd::kName);
  check_choices(c, op.logits, op.scores, op.expert);
  const std::int64_t tokens = op.logits.shape[0], experts = op.logits.shape[1];
  const std::int64_t chosen = op.expert.shape[1];
  check_matrix(c, "dweight", op.dweight, tokens, chosen, op.logits.dtype);
  check_matrix(c, "dlogits", op.dlogits, tokens, experts, op.logits.dtype);
  check_rule(c, op.rule, experts, chosen);
  c.that(op.aux_coef == 0 || op.fraction.defined(), "fraction is needed when aux_coef is not 0 (",
         op.aux_coef, "); run RouteFraction first and pass its fraction");
  if (op.fraction.defined()) {
    check_matrix(c, "fraction", op.fraction, Checker::kAny, experts, op.logits.dtype);
    check_sequences(c, op.fraction, op.sequence, tokens, op.length);
  }
  c.optional_shape("z_scale", op.z_scale, {1});
  c.dtype("z_scale", op.z_scale, DType::f64);
  c.disjoint("dlogits", op.dlogits, "logits", op.logits);
  c.disjoint("dlogits", op.dlogits, "scores", op.scores);
  c.disjoint("dlogits", op.dlogits, "dweight", op.dweight);
  if (!op.parts.defined()) return;
  c.compute_dtype("parts", op.parts);
  c.shape("parts", op.parts, {tokens, parts_of(op.parts.dtype) * experts});
  c.that(stat_dtype(op.parts.dtype) == op.logits.dtype,
         "parts: expected a dtype with statistics in ", name_of(op.logits.dtype), ", got ",
         name_of(op.parts.dtype));
  c.that(chosen == 1, "parts: one expert a token is needed, got ", chosen);
  check_matrix(c, "row_of", op.row_of, tokens, 1, DType::i32);
}

void check(const RouterBiasUpdate& op) {
  const Checker c(RouterBiasUpdate::kName);
  c.shape("counts", op.counts, {Checker::kAny});
  c.dtype("counts", op.counts, DType::i64);
  c.shape("bias", op.bias, {op.counts.shape[0]});
  check_real(c, "bias", op.bias);
  c.that(std::isfinite(op.rate), "rate must be finite, got ", op.rate);
}

void check(const RouterBiasAdamW& op) {
  const Checker c(RouterBiasAdamW::kName);
  c.shape("counts", op.counts, {Checker::kAny});
  c.dtype("counts", op.counts, DType::i64);
  check_real(c, "bias", op.bias);
  const std::int64_t experts = op.counts.shape[0];
  const auto check_state = [&](const char* field, const Tensor& t, std::int64_t size) {
    c.shape(field, t, {size});
    c.dtype(field, t, op.bias.dtype);
  };
  check_state("bias", op.bias, experts);
  check_state("m", op.m, experts);
  check_state("v", op.v, experts);
  check_state("steps", op.steps, 1);
  c.that(std::isfinite(op.rate), "rate must be finite, got ", op.rate);
  c.that(op.beta1 >= 0 && op.beta1 < 1 && op.beta2 >= 0 && op.beta2 < 1,
         "beta1 and beta2 must be in [0, 1), got ", op.beta1, " and ", op.beta2);
}

Work work(const RouteFwd& op) {
  const Work product = op.product.x.defined() ? work(op.product) : Work{};
  return {product.flops, product.bytes + bytes_of({op.logits, op.bias, op.scores, op.expert,
                                                   op.weight, op.counts, op.counts})};
}

Work work(const RouteFraction& op) {
  return {0, bytes_of({op.expert, op.fraction})};
}

Work work(const RouteLosses& op) {
  return {0, bytes_of({op.logits, op.scores, op.fraction})};
}

Work work(const RouteBwd& op) {
  return {0, bytes_of({op.dweight, op.logits, op.scores, op.expert, op.fraction, op.dlogits,
                       op.row_of, op.parts})};
}

Work work(const RouterBiasUpdate& op) {
  return {0, bytes_of({op.counts, op.bias, op.bias})};
}

Work work(const RouterBiasAdamW& op) {
  return {0, bytes_of({op.counts, op.bias, op.bias, op.m, op.m, op.v, op.v})};
}

}  // namespace strait::kernels
