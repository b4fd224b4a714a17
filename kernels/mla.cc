#include "kernels/mla.h"

#include "kernels/bytes.h"

namespace strait::kernels {
namespace {

constexpr auto kAny = Checker::kAny;

void check_rope(const Checker& c, const Rope& rope, std::int64_t rope_width,
                std::int64_t head_width) {
  c.that(rope.dims == rope_width,
         "rope.dims must equal the width r of the shared rope key, got rope.dims = ", rope.dims,
         ", r = ", rope_width);
  c.that(rope.dims % 2 == 0 && rope.dims <= head_width,
         "r must be even and at most n + r, got r = ", rope_width, ", n + r = ", head_width);
}

/// Bytes of queries read and written; in place the channels before `nope` stay where they are.
double moved_queries(const ConstTensor& from, const ConstTensor& to, std::int64_t nope) {
  if (from.data != to.data) return bytes_of({from, to});
  return 2 * bytes_of({from.slice(2, nope, from.shape[2] - nope)});
}

}  // namespace

void check(const MlaAssembleFwd& op) {
  const Checker c(MlaAssembleFwd::kName);
  c.shape("q_up", op.q_up, {kAny, kAny, kAny});
  const std::int64_t tokens = op.q_up.shape[0], heads = op.q_up.shape[1], width = op.q_up.shape[2];
  c.shape("k_rope", op.k_rope, {tokens, kAny});
  c.shape("kv_up", op.kv_up, {tokens, heads, kAny});
  check_rope(c, op.rope, op.k_rope.shape[1], width);
  c.that(op.kv_up.shape[2] >= width - op.rope.dims,
         "kv_up must hold n + dv channels with n = ", width - op.rope.dims, ", got ",
         op.kv_up.shape[2]);
  c.shape("positions", op.positions, {tokens});
  c.dtype("positions", op.positions, DType::i32);
  c.shape("q", op.q, {tokens, heads, width});
  c.shape("k", op.k, {tokens, heads, width});
  c.compute_dtype("q_up", op.q_up);
  c.dtype("kv_up", op.kv_up, op.q_up.dtype);
  c.dtype("k_rope", op.k_rope, op.q_up.dtype);
  c.dtype("q", op.q, op.q_up.dtype);
  c.dtype("k", op.k, op.q_up.dtype);
  c.same_or_disjoint("q", op.q, "q_up", op.q_up);
  c.disjoint("q", op.q, "kv_up", op.kv_up);
  c.disjoint("q", op.q, "k_rope", op.k_rope);
  c.disjoint("q", op.q, "k", op.k);
  c.disjoint("k", op.k, "q_up", op.q_up);
  c.disjoint("k", op.k, "kv_up", op.kv_up);
  c.disjoint("k", op.k, "k_rope", op.k_rope);
}

void check(const MlaAssembleBwd& op) {
  const Checker c(MlaAssembleBwd::kName);
  c.shape("dq", op.dq, {kAny, kAny, kAny});
  const std::int64_t tokens = op.dq.shape[0], heads = op.dq.shape[1], width = op.dq.shape[2];
  c.shape("dk", op.dk, {tokens, heads, width});
  c.shape("dv", op.dv, {tokens, heads, kAny});
  c.shape("dk_rope", op.dk_rope, {tokens, kAny});
  check_rope(c, op.rope, op.dk_rope.shape[1], width);
  c.shape("positions", op.positions, {tokens});
  c.dtype("positions", op.positions, DType::i32);
  c.shape("dq_up", op.dq_up, {tokens, heads, width});
  c.shape("dkv_up", op.dkv_up, {tokens, heads, width - op.rope.dims + op.dv.shape[2]});
  c.compute_dtype("dq", op.dq);
  c.dtype("dk", op.dk, op.dq.dtype);
  c.dtype("dv", op.dv, op.dq.dtype);
  c.dtype("dq_up", op.dq_up, op.dq.dtype);
  c.dtype("dkv_up", op.dkv_up, op.dq.dtype);
  c.dtype("dk_rope", op.dk_rope, op.dq.dtype);
  c.same_or_disjoint("dq_up", op.dq_up, "dq", op.dq);
  c.disjoint("dq_up", op.dq_up, "dk", op.dk);
  c.disjoint("dq_up", op.dq_up, "dv", op.dv);
  c.disjoint("dkv_up", op.dkv_up, "dq", op.dq);
  c.disjoint("dkv_up", op.dkv_up, "dk", op.dk);
  c.disjoint("dkv_up", op.dkv_up, "dv", op.dv);
  c.disjoint("dkv_up", op.dkv_up, "dq_up", op.dq_up);
  c.disjoint("dk_rope", op.dk_rope, "dq", op.dq);
  c.disjoint("dk_rope", op.dk_rope, "dk", op.dk);
}

Work work(const MlaAssembleFwd& op) {
  const std::int64_t nope = op.q_up.shape[2] - op.rope.dims;
  return {0, moved_queries(op.q_up, op.q, nope) +
                 bytes_of({op.kv_up.slice(2, 0, nope), op.k_rope, op.positions, op.k})};
}

Work work(const MlaAssembleBwd& op) {
  const std::int64_t nope = op.dq.shape[2] - op.rope.dims;
  return {0, moved_queries(op.dq, op.dq_up, nope) +
                 bytes_of({op.dk, op.dv, op.positions, op.dkv_up, op.dk_rope})};
}

}  // namespace strait::kernels
