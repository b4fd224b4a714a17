#include "kernels/embedding.h"

namespace strait::kernels {

void check(const EmbeddingFwd& op) {
  const Checker c(EmbeddingFwd::kName);
  c.shape("ids", op.ids, {Checker::kAny});
  c.shape("w", op.w, {Checker::kAny, Checker::kAny});
  c.shape("y", op.y, {op.ids.shape[0], op.w.shape[1]});
  c.dtype("ids", op.ids, DType::i32);
  c.compute_dtype("y", op.y);
  c.wide_dtype("w", op.w, op.y.dtype);
  c.disjoint("y", op.y, "ids", op.ids);
  c.disjoint("y", op.y, "w", op.w);
}

void check(const EmbeddingBwd& op) {
  const Checker c(EmbeddingBwd::kName);
  c.shape("ids", op.ids, {Checker::kAny});
  c.shape("dw", op.dw, {Checker::kAny, Checker::kAny});
  c.shape("dy", op.dy, {op.ids.shape[0], op.dw.shape[1]});
  c.dtype("ids", op.ids, DType::i32);
  c.compute_dtype("dy", op.dy);
  c.wide_dtype("dw", op.dw, op.dy.dtype);
  c.disjoint("dw", op.dw, "ids", op.ids);
  c.disjoint("dw", op.dw, "dy", op.dy);
}

}  // namespace strait::kernels
