#include "kernels/clock.h"

namespace strait::kernels {

void check(const Lap& op) {
  const Checker c(Lap::kName);
  c.shape("last", op.last, {1});
  c.shape("total", op.total, {1});
  c.dtype("last", op.last, DType::i64);
  c.dtype("total", op.total, DType::i64);
  c.disjoint("total", op.total, "last", op.last);
}

}  // namespace strait::kernels
