#include "kernels/cross_entropy.h"

#include "kernels/bytes.h"

namespace strait::kernels {

void check(const CrossEntropyStats& op) {
  const Checker c(CrossEntropyStats::kName);
  c.shape("logits", op.logits, {Checker::kAny, Checker::kAny});
  c.shape("labels", op.labels, {op.logits.shape[0]});
  c.shape("stats", op.stats, {op.logits.shape[0], 3});
  c.compute_dtype("logits", op.logits);
  c.dtype("labels", op.labels, DType::i32);
  c.dtype("stats", op.stats, stat_dtype(op.logits.dtype));
  c.disjoint("stats", op.stats, "logits", op.logits);
  c.disjoint("stats", op.stats, "labels", op.labels);
}

void check(const CrossEntropyMerge& op) {
  const Checker c(CrossEntropyMerge::kName);
  c.shape("parts", op.parts, {Checker::kAny, Checker::kAny, 3});
  c.that(op.parts.shape[0] >= 1, "parts must hold at least one block, got ", op.parts);
  c.shape("stats", op.stats, {op.parts.shape[1], 3});
  c.dtype("stats", op.stats, op.parts.dtype);
  c.contiguous("parts", op.parts);
  c.contiguous("stats", op.stats);
  c.disjoint("stats", op.stats, "parts", op.parts);
}

void check(const CrossEntropyLoss& op) {
  const Checker c(CrossEntropyLoss::kName);
  c.shape("stats", op.stats, {Checker::kAny, 3});
  const std::int64_t rows = op.stats.shape[0];
  c.shape("labels", op.labels, {rows});
  c.shape("lse", op.lse, {rows});
  c.optional_shape("loss", op.loss, {rows});
  c.shape("loss_sum", op.loss_sum, {1});
  c.that(op.stats.dtype == DType::f64 || op.stats.dtype == DType::f32,
         "stats: expected dtype f64 or f32, got ", op.stats, "; allocate it in the stat dtype");
  c.dtype("labels", op.labels, DType::i32);
  c.dtype("lse", op.lse, op.stats.dtype);
  c.dtype("loss", op.loss, op.stats.dtype);
  c.dtype("loss_sum", op.loss_sum, DType::f64);
  c.disjoint("lse", op.lse, "stats", op.stats);
  c.disjoint("lse", op.lse, "labels", op.labels);
  c.disjoint("loss", op.loss, "stats", op.stats);
  c.disjoint("loss", op.loss, "lse", op.lse);
  c.disjoint("loss", op.loss, "labels", op.labels);
  c.disjoint("loss_sum", op.loss_sum, "loss", op.loss);
  c.disjoint("loss_sum", op.loss_sum, "lse", op.lse);
  c.disjoint("loss_sum", op.loss_sum, "stats", op.stats);
}

void check(const CrossEntropyBwd& op) {
  const Checker c(CrossEntropyBwd::kName);
  c.shape("logits", op.logits, {Checker::kAny, Checker::kAny});
  const std::int64_t rows = op.logits.shape[0], vocab = op.logits.shape[1];
  c.shape("labels", op.labels, {rows});
  c.shape("lse", op.lse, {rows});
  c.shape("dlogits", op.dlogits, {rows, vocab});
  c.compute_dtype("logits", op.logits);
  c.dtype("labels", op.labels, DType::i32);
  c.dtype("lse", op.lse, stat_dtype(op.logits.dtype));
  c.dtype("dlogits", op.dlogits, op.logits.dtype);
  c.optional_shape("scale", op.scale, {1});
  c.dtype("scale", op.scale, DType::f64);
  c.same_or_disjoint("dlogits", op.dlogits, "logits", op.logits);
  c.disjoint("dlogits", op.dlogits, "labels", op.labels);
  c.disjoint("dlogits", op.dlogits, "lse", op.lse);
}

void check(const CrossEntropyRows& op) {
  const Checker c(CrossEntropyRows::kName);
  c.shape("logits", op.logits, {Checker::kAny, Checker::kAny});
  const std::int64_t rows = op.logits.shape[0];
  c.shape("labels", op.labels, {rows});
  c.optional_shape("loss", op.loss, {rows});
  c.shape("loss_sum", op.loss_sum, {1});
  c.optional_shape("scale", op.scale, {1});
  c.compute_dtype("logits", op.logits);
  c.dtype("labels", op.labels, DType::i32);
  c.dtype("loss", op.loss, stat_dtype(op.logits.dtype));
  c.dtype("loss_sum", op.loss_sum, DType::f64);
  c.dtype("scale", op.scale, DType::f64);
  c.disjoint("logits", op.logits, "labels", op.labels);
  c.disjoint("logits", op.logits, "loss", op.loss);
  c.disjoint("logits", op.logits, "loss_sum", op.loss_sum);
  c.disjoint("loss_sum", op.loss_sum, "scale", op.scale);
}

Work work(const CrossEntropyStats& op) {
  return {0, bytes_of({op.logits, op.labels, op.stats, op.stats})};
}

Work work(const CrossEntropyMerge& op) {
  return {0, bytes_of({op.parts, op.stats})};
}

Work work(const CrossEntropyLoss& op) {
  return {0, bytes_of({op.stats, op.labels, op.lse, op.loss, op.loss_sum, op.loss_sum})};
}

Work work(const CrossEntropyRows& op) {
  return {0, bytes_of({op.logits, op.logits, op.labels, op.loss, op.loss_sum, op.loss_sum})};
}

Work work(const CrossEntropyBwd& op) {
  return {0, bytes_of({op.logits, op.labels, op.lse, op.dlogits})};
}

}  // namespace strait::kernels
