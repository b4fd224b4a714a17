#include "kernels/embedding.h"

#include <algorithm>

#include "kernels/bytes.h"

namespace strait::kernels {
namespace {

/// Bytes of the rows that the ids name, counted as if none came twice: the ids may be on a device.
double touched_bytes(const ConstTensor& table, const ConstTensor& ids) {
  return bytes_of({table.slice(0, 0, std::min(table.shape[0], ids.shape[0]))});
}

}  // namespace

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

Work work(const EmbeddingFwd& op) {
  return {0, bytes_of({op.ids, op.y}) + touched_bytes(op.w, op.ids)};
}

Work work(const EmbeddingBwd& op) {
  return {0, bytes_of({op.ids, op.dy}) + 2 * touched_bytes(op.dw, op.ids)};
}

}  // namespace strait::kernels
