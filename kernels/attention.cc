#include "kernels/attention.h"

#include <algorithm>
#include <cmath>

#include "kernels/bytes.h"

namespace strait::kernels {
namespace {

struct Dims {
  std::int64_t tokens, keys, heads, groups, key_width, value_width;
};

template <class Op>
Dims dims_of(const Op& op) {
  return {op.q.shape[0], op.k.shape[0], op.q.shape[1], op.k.shape[1], op.q.shape[2], op.v.shape[2]};
}

/// What forward and backward have in common: the inputs of the forward.
template <class Op>
void check_inputs(const Checker& c, const Op& op) {
  constexpr auto any = Checker::kAny;
  c.shape("q", op.q, {any, any, any});
  c.shape("k", op.k, {any, any, op.q.shape[2]});
  c.shape("v", op.v, {op.k.shape[0], op.k.shape[1], any});
  const std::int64_t tokens = op.q.shape[0], heads = op.q.shape[1], groups = op.k.shape[1];
  c.that(groups > 0 && heads % groups == 0,
         "query heads must be a multiple of key/value heads, got H = ", heads, ", G = ", groups,
         "; change one of them");
  c.that(std::isfinite(op.scale), "scale must be finite, got ", op.scale,
         "; set it, usually to 1 / sqrt(head dim)");
  c.compute_dtype("q", op.q);
  c.dtype("k", op.k, op.q.dtype);
  c.dtype("v", op.v, op.q.dtype);
  c.shape("k_begin", op.k_begin, {tokens});
  c.shape("k_end", op.k_end, {tokens});
  c.dtype("k_begin", op.k_begin, DType::i32);
  c.dtype("k_end", op.k_end, DType::i32);
}

template <class Op>
double pairs_of(const Op& op) {
  const auto* begin = op.k_begin.template as<std::int32_t>();
  const auto* end = op.k_end.template as<std::int32_t>();
  double pairs = 0;
  for (std::int64_t t = 0; t < op.q.shape[0]; ++t) pairs += std::max(0, end[t] - begin[t]);
  return pairs * static_cast<double>(op.q.shape[1]);
}

/// Two products, Q K^T and P V, of 2 FLOPs per pair and channel.
template <class Op>
double forward_flops(const Op& op, Device device) {
  if (device != Device::cpu) return 0;
  return pairs_of(op) * 2.0 * static_cast<double>(op.q.shape[2] + op.v.shape[2]);
}

}  // namespace

void check(const AttentionFwd& op) {
  const Checker c(AttentionFwd::kName);
  check_inputs(c, op);
  const Dims n = dims_of(op);
  c.shape("o", op.o, {n.tokens, n.heads, n.value_width});
  c.dtype("o", op.o, op.q.dtype);
  c.shape("lse", op.lse, {n.heads, n.tokens});
  c.dtype("lse", op.lse, stat_dtype(op.q.dtype));
  c.contiguous("lse", op.lse);
  c.disjoint("o", op.o, "q", op.q);
  c.disjoint("o", op.o, "k", op.k);
  c.disjoint("o", op.o, "v", op.v);
  c.disjoint("o", op.o, "lse", op.lse);
}

void check(const AttentionBwd& op) {
  const Checker c(AttentionBwd::kName);
  check_inputs(c, op);
  const Dims n = dims_of(op);
  c.shape("dout", op.dout, {n.tokens, n.heads, n.value_width});
  c.shape("o", op.o, {n.tokens, n.heads, n.value_width});
  c.shape("lse", op.lse, {n.heads, n.tokens});
  c.contiguous("lse", op.lse);
  c.shape("dq", op.dq, {n.tokens, n.heads, n.key_width});
  c.shape("dk", op.dk, {n.keys, n.groups, n.key_width});
  c.shape("dv", op.dv, {n.keys, n.groups, n.value_width});
  for (const ConstTensor& t : {op.dout, op.o}) c.dtype("dout and o", t, op.q.dtype);
  for (const Tensor& t : {op.dq, op.dk, op.dv}) c.dtype("dq, dk and dv", t, op.q.dtype);
  c.dtype("lse", op.lse, stat_dtype(op.q.dtype));
  const auto apart = [&](const char* field, const Tensor& out) {
    c.disjoint(field, out, "dout", op.dout);
    c.disjoint(field, out, "q", op.q);
    c.disjoint(field, out, "k", op.k);
    c.disjoint(field, out, "v", op.v);
    c.disjoint(field, out, "o", op.o);
    c.disjoint(field, out, "lse", op.lse);
  };
  apart("dq", op.dq);
  apart("dk", op.dk);
  apart("dv", op.dv);
  c.disjoint("dq", op.dq, "dk", op.dk);
  c.disjoint("dq", op.dq, "dv", op.dv);
  c.disjoint("dk", op.dk, "dv", op.dv);
}

void check(const AttentionMerge& op) {
  const Checker c(AttentionMerge::kName);
  c.shape("part", op.part, {Checker::kAny, Checker::kAny, Checker::kAny});
  c.compute_dtype("part", op.part);
  const std::int64_t tokens = op.part.shape[0], heads = op.part.shape[1];
  c.shape("o", op.o, {tokens, heads, op.part.shape[2]});
  const DType stat = stat_dtype(op.part.dtype);
  for (const ConstTensor& t : {ConstTensor(op.o), op.part_lse, ConstTensor(op.lse)}) {
    c.dtype("o, part_lse and lse", t, stat);
  }
  c.shape("part_lse", op.part_lse, {heads, tokens});
  c.shape("lse", op.lse, {heads, tokens});
  for (const ConstTensor& t : {op.part, ConstTensor(op.o), op.part_lse, ConstTensor(op.lse)}) {
    c.contiguous("every tensor", t);
  }
  c.disjoint("o", op.o, "part", op.part);
  c.disjoint("lse", op.lse, "part_lse", op.part_lse);
}

Work work(const AttentionMerge& op) {
  return {0, bytes_of({op.part, op.part_lse, op.o, op.o, op.lse, op.lse})};
}

Work work(const AttentionFwd& op, Device device) {
  return {.flops = forward_flops(op, device), .bytes = bytes_of({op.q, op.k, op.v, op.o, op.lse})};
}

/// Five products (Q K^T again, dO V^T, P^T dO, dS K, dS^T Q) to the forward's two, so 2.5 times its
/// FLOPs; exact when dk = dv. The Hopper kernel adds up dq in f32, and where query heads share keys
/// every head's dk and dv too; beside them it has two numbers of every row and head, and two of
/// every row.
Work work(const AttentionBwd& op, Device device) {
  const std::int64_t heads = op.q.shape[1],
                     shared = heads / std::max<std::int64_t>(op.k.shape[1], 1);
  std::int64_t sums = op.dq.numel() + 2 * (op.lse.numel() + op.q.shape[0]);
  if (shared > 1) sums += shared * (op.dk.numel() + op.dv.numel());
  const bool narrow = op.q.dtype == DType::bf16;
  return {.flops = 2.5 * forward_flops(op, device),
          .bytes = bytes_of({op.dout, op.q, op.k, op.v, op.o, op.lse, op.dq, op.dk, op.dv}),
          .workspace = narrow ? 4.0 * static_cast<double>(sums) : 0.0};
}

}  // namespace strait::kernels
