#include "kernels/elementwise.h"

#include "kernels/bytes.h"

namespace strait::kernels {
namespace {

void check_like(const Checker& c, const char* field, const ConstTensor& t, const char* like_field,
                const ConstTensor& like) {
  c.that(t.defined(), field, ": absent; set it");
  const bool same = t.rank == like.rank && t.shape == like.shape;
  c.that(same, field, ": expected the shape of ", like_field, ", ", like, ", got ", t,
         "; pass a view of that shape");
}

void check_last_dim(const Checker& c, const char* field, const ConstTensor& t) {
  c.that(t.defined(), field, ": absent; set it");
  const int last = t.rank - 1;
  c.that(t.rank > 0, field, ": expected at least one dim, got none; use shape [1]");
  c.that(t.shape[last] <= 1 || t.stride[last] == 1, field,
         ": expected a contiguous last dim, got stride ", t.stride[last], " in ", t,
         "; copy it first");
}

}  // namespace

void check(const Fill& op) {
  check_last_dim(Checker(Fill::kName), "x", op.x);
}

void check(const Add& op) {
  const Checker c(Add::kName);
  check_last_dim(c, "y", op.y);
  check_like(c, "a", op.a, "y", op.y);
  check_like(c, "b", op.b, "y", op.y);
  check_last_dim(c, "a", op.a);
  check_last_dim(c, "b", op.b);
  c.compute_dtype("y", op.y);
  c.dtype("a", op.a, op.y.dtype);
  c.dtype("b", op.b, op.y.dtype);
  c.same_or_disjoint("y", op.y, "a", op.a);
  c.same_or_disjoint("y", op.y, "b", op.b);
}

void check(const Copy& op) {
  const Checker c(Copy::kName);
  check_last_dim(c, "y", op.y);
  check_like(c, "x", op.x, "y", op.y);
  check_last_dim(c, "x", op.x);
  if (op.x.dtype != op.y.dtype) {
    c.compute_dtype("x", op.x);
    c.compute_dtype("y", op.y);
  }
  c.disjoint("y", op.y, "x", op.x);
}

Work work(const Fill& op) {
  return {0, bytes_of({op.x})};
}

Work work(const Add& op) {
  return {0, bytes_of({op.a, op.b, op.y})};
}

Work work(const Copy& op) {
  return {0, bytes_of({op.x, op.y})};
}

}  // namespace strait::kernels
