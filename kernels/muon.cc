#include "kernels/muon.h"

#include <limits>

#include "kernels/bytes.h"

namespace strait::kernels {
namespace {

/// [N, R, C], any sizes when `like` is absent.
void check_matrices(const Checker& c, const char* field, const ConstTensor& t,
                    const ConstTensor& like = {}) {
  if (like.defined()) {
    c.shape(field, t, {like.shape[0], like.shape[1], like.shape[2]});
  } else {
    c.shape(field, t, {Checker::kAny, Checker::kAny, Checker::kAny});
  }
}

/// The iteration runs in the dtype of gradients and weights, or in bf16 beside f32.
void check_narrowed(const Checker& c, const char* field, const ConstTensor& t, DType wide) {
  if (wide == DType::f32 && t.dtype == DType::bf16) return;
  c.dtype(field, t, wide);
}

void check_rates(const Checker& c, const ConstTensor& rates) {
  c.shape("rates", rates, {4});
  c.dtype("rates", rates, DType::f64);
}

double elements(const ConstTensor& t) {
  return static_cast<double>(t.numel());
}

}  // namespace

void check(const MuonMomentum& op) {
  const Checker c(MuonMomentum::kName);
  check_matrices(c, "g", op.g);
  check_matrices(c, "m", op.m, op.g);
  check_matrices(c, "u", op.u, op.g);
  c.contiguous("u", op.u);
  c.compute_dtype("g", op.g);
  if (op.m.dtype != DType::bf16) c.dtype("m", op.m, stat_dtype(op.g.dtype));
  check_narrowed(c, "u", op.u, op.g.dtype);
  for (int dim = 0; dim < 2; ++dim) {
    c.that(op.g.shape[dim] <= 1 || op.g.stride[dim] == op.m.stride[dim], "m: expected stride ",
           op.g.stride[dim], " of g in dim ", dim, ", got ", op.m.stride[dim]);
  }
  c.shape("grad_scale", op.grad_scale, {1});
  c.dtype("grad_scale", op.grad_scale, DType::f64);
  check_rates(c, op.rates);
  c.that(op.mu >= 0 && op.mu < 1, "mu: expected in [0, 1), got ", op.mu);
  c.disjoint("m", op.m, "g", op.g);
  c.disjoint("u", op.u, "g", op.g);
  c.disjoint("u", op.u, "m", op.m);
}

void check(const FrobeniusScale& op) {
  const Checker c(FrobeniusScale::kName);
  check_matrices(c, "x", op.x);
  c.contiguous("x", op.x);
  c.compute_dtype("x", op.x);
  c.that(op.eps > 0, "eps: expected above 0, got ", op.eps, "; a matrix of zeros has no norm");
}

void check(const NewtonSchulzFactor& op) {
  const Checker c(NewtonSchulzFactor::kName);
  check_matrices(c, "gram", op.gram);
  c.that(op.gram.shape[1] == op.gram.shape[2], "gram: expected square matrices, got ", op.gram);
  check_matrices(c, "square", op.square, op.gram);
  c.contiguous("gram", op.gram);
  c.contiguous("square", op.square);
  c.compute_dtype("gram", op.gram);
  c.dtype("square", op.square, op.gram.dtype);
  c.disjoint("square", op.square, "gram", op.gram);
}

void check(const MuonUpdate& op) {
  const Checker c(MuonUpdate::kName);
  check_matrices(c, "w", op.w);
  check_matrices(c, "o", op.o, op.w);
  c.contiguous("o", op.o);
  c.compute_dtype("w", op.w);
  check_narrowed(c, "o", op.o, op.w.dtype);
  if (op.w_compute.defined()) check_matrices(c, "w_compute", op.w_compute, op.w);
  c.compute_dtype("w_compute", op.w_compute);
  check_rates(c, op.rates);
  c.disjoint("w", op.w, "o", op.o);
  c.disjoint("w_compute", op.w_compute, "w", op.w);
  c.disjoint("w_compute", op.w_compute, "o", op.o);
}

void check(const EvenOffsets& op) {
  const Checker c(EvenOffsets::kName);
  c.shape("offsets", op.offsets, {Checker::kAny});
  c.dtype("offsets", op.offsets, DType::i32);
  const std::int64_t last = (op.offsets.shape[0] - 1) * op.rows;
  c.that(op.offsets.shape[0] >= 1 && op.rows >= 0, "offsets: expected N + 1 of them and rows >= 0");
  c.that(last <= std::numeric_limits<std::int32_t>::max(), "rows: the last offset, ", last,
         ", exceeds 32 bits; take fewer matrices at a time");
}

Work work(const MuonMomentum& op) {
  return {.flops = 4 * elements(op.g), .bytes = bytes_of({op.g, op.m, op.m, op.u})};
}

Work work(const FrobeniusScale& op) {
  return {.flops = 3 * elements(op.x), .bytes = bytes_of({op.x, op.x})};
}

Work work(const NewtonSchulzFactor& op) {
  return {.flops = 1.5 * elements(op.gram),
          .bytes = bytes_of({op.gram, op.square}) / 2 + bytes_of({op.square})};
}

Work work(const MuonUpdate& op) {
  return {.flops = 3 * elements(op.w), .bytes = bytes_of({op.w, op.w, op.o, op.w_compute})};
}

}  // namespace strait::kernels
