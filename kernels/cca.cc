#include "kernels/cca.h"

#include "kernels/bytes.h"

namespace strait::kernels {
namespace {

constexpr auto kAny = Checker::kAny;

struct Dims {
  std::int64_t tokens, heads, groups, width, channels;
};

/// Taps of a convolution that is off count as one: they reach no further back.
template <class Op>
std::int64_t halo_columns(const Op& op) {
  const std::int64_t n0 = op.switches.convs >= 1 ? op.w0.shape[0] : 1;
  const std::int64_t n1 = op.switches.convs == 2 ? op.w1.shape[1] / op.w1.shape[2] : 1;
  return (n0 - 1) + (n1 - 1);
}

template <class... Part>
void check_present(const Checker& c, const char* field, const ConstTensor& t, bool expected,
                   const Part&... when) {
  c.that(t.defined() == expected, field, ": expected to be present exactly ", when..., ", got ", t,
         "; ", expected ? "set it" : "leave it out");
}

/// Weights of the convolutions, or their gradients.
void check_taps(const Checker& c, const CcaMixSwitches& on, const Dims& n, const ConstTensor& w0,
                const ConstTensor& b0, const ConstTensor& w1, const ConstTensor& b1) {
  check_present(c, "w0", w0, on.convs >= 1, "when convs >= 1 (convs = ", on.convs, ")");
  check_present(c, "b0", b0, on.convs >= 1, "when convs >= 1 (convs = ", on.convs, ")");
  check_present(c, "w1", w1, on.convs == 2, "when convs = 2 (convs = ", on.convs, ")");
  check_present(c, "b1", b1, on.convs == 2, "when convs = 2 (convs = ", on.convs, ")");
  c.optional_shape("w0", w0, {kAny, n.channels});
  c.optional_shape("b0", b0, {n.channels});
  c.optional_shape("w1", w1, {n.heads + n.groups, kAny, n.width});
  c.optional_shape("b1", b1, {n.heads + n.groups, n.width});
  for (const ConstTensor& t : {w0, b0, w1, b1}) c.contiguous("w0, b0, w1, b1", t);
  c.that(!w0.defined() || w0.shape[0] >= 1, "w0: needs at least one tap, got ", w0);
  c.that(!w1.defined() || (w1.shape[1] >= n.width && w1.shape[1] % n.width == 0),
         "w1: its middle dim must be taps * d with d = ", n.width, ", got ", w1);
}

/// Inputs that forward and backward share.
template <class Op>
void check_inputs(const Checker& c, const Op& op, const Dims& n) {
  c.that(op.switches.convs >= 0 && op.switches.convs <= 2, "switches.convs must be 0, 1 or 2, got ",
         op.switches.convs);
  c.that(n.width > 0, "head dim d must be positive, got 0");
  c.that(n.groups > 0 && n.heads % n.groups == 0,
         "query heads must be a multiple of key/value heads, got H = ", n.heads, ", G = ", n.groups,
         "; change one of them");
  c.that(op.chunk > 0 && n.tokens % op.chunk == 0,
         "chunk must divide the rows, got chunk = ", op.chunk, ", T = ", n.tokens);
  check(c, op.rope, n.width);
  c.shape("z", op.z, {n.tokens, n.channels});
  c.compute_dtype("z", op.z);
  check_taps(c, op.switches, n, op.w0, op.b0, op.w1, op.b1);
  check_present(c, "temp", op.temp, op.switches.norm, "with switches.norm");
  c.optional_shape("temp", op.temp, {n.groups});
  c.shape("positions", op.positions, {n.tokens});
  c.shape("doc_pos", op.doc_pos, {n.tokens});
  c.dtype("positions", op.positions, DType::i32);
  c.dtype("doc_pos", op.doc_pos, DType::i32);
  for (const ConstTensor& t : {op.w0, op.w1, op.halo_z}) c.dtype("w0, w1, halo_z", t, op.z.dtype);
  for (const ConstTensor& t : {op.b0, op.b1, op.temp}) c.wide_dtype("b0, b1, temp", t, op.z.dtype);
  const std::int64_t columns = halo_columns(op);
  c.that(!op.halo_z.defined() || columns > 0,
         "halo_z: one tap each needs no columns of history; leave it out");
  c.optional_shape("halo_z", op.halo_z, {n.tokens / op.chunk, columns, n.channels});
}

/// Heads [T, heads, d] whose channels follow one another, so that [T, heads d] is a view.
void check_flat(const Checker& c, const char* field, const ConstTensor& t, const Dims& n) {
  c.shape(field, t, {n.tokens, n.groups, n.width});
  c.that(n.groups == 1 || t.stride[1] == n.width, field, ": heads must follow one another (stride ",
         n.width, "), got stride ", t.stride[1]);
}

/// The halves of v (or dv): both together are G d channels.
void check_halves(const Checker& c, const Dims& n, const ConstTensor& current,
                  const ConstTensor& delayed) {
  c.optional_shape("v_cur", current, {n.tokens, kAny});
  c.optional_shape("v_del", delayed, {n.tokens, kAny});
  const std::int64_t sum =
      (current.defined() ? current.shape[1] : 0) + (delayed.defined() ? delayed.shape[1] : 0);
  c.that(sum == n.groups * n.width, "v_cur and v_del must hold G d = ", n.groups * n.width,
         " channels together, got ", sum);
}

double convolution_flops(const ConstTensor& z, const ConstTensor& w0, const ConstTensor& w1) {
  const double taps = (w0.defined() ? static_cast<double>(w0.shape[0]) : 0.0) +
                      (w1.defined() ? static_cast<double>(w1.shape[1]) : 0.0);
  return 2.0 * static_cast<double>(z.numel()) * taps;
}

}  // namespace

void check(const CcaMixFwd& op) {
  const Checker c(CcaMixFwd::kName);
  c.shape("q", op.q, {kAny, kAny, kAny});
  c.shape("k", op.k, {op.q.shape[0], kAny, op.q.shape[2]});
  const std::int64_t width = op.q.shape[2], heads = op.q.shape[1], groups = op.k.shape[1];
  const Dims n{op.q.shape[0], heads, groups, width, (heads + groups) * width};
  check_inputs(c, op, n);
  check_halves(c, n, op.v_cur, op.v_del);
  check_flat(c, "v", op.v, n);
  c.that(!op.halo_v.defined() || op.v_del.defined(),
         "halo_v: no delayed values without v_del; leave it out");
  if (op.v_del.defined()) {
    c.optional_shape("halo_v", op.halo_v, {n.tokens / op.chunk, op.v_del.shape[1]});
  }
  for (const ConstTensor& t : {op.v_cur, op.v_del, op.halo_v}) c.dtype("values", t, op.z.dtype);
  for (const Tensor& t : {op.q, op.k, op.v}) {
    c.dtype("q, k, v", t, op.z.dtype);
    for (const ConstTensor& in : {op.z, op.v_cur, op.v_del, op.halo_z, op.halo_v}) {
      c.disjoint("q, k, v", t, "an input", in);
    }
  }
  c.disjoint("q", op.q, "k", op.k);
  c.disjoint("q", op.q, "v", op.v);
  c.disjoint("k", op.k, "v", op.v);
}

void check(const CcaMixBwd& op) {
  const Checker c(CcaMixBwd::kName);
  c.shape("dq", op.dq, {kAny, kAny, kAny});
  c.shape("dk", op.dk, {op.dq.shape[0], kAny, op.dq.shape[2]});
  const std::int64_t width = op.dq.shape[2], heads = op.dq.shape[1], groups = op.dk.shape[1];
  const Dims n{op.dq.shape[0], heads, groups, width, (heads + groups) * width};
  check_inputs(c, op, n);
  check_flat(c, "dv", op.dv, n);
  check_halves(c, n, op.dv_cur, op.dv_del);
  c.shape("dz", op.dz, {n.tokens, n.channels});
  check_present(c, "dhalo_z", op.dhalo_z, op.halo_z.defined(), "when halo_z is");
  c.optional_shape("dhalo_z", op.dhalo_z, {n.tokens / op.chunk, halo_columns(op), n.channels});
  c.that(!op.dhalo_v.defined() || op.dv_del.defined(),
         "dhalo_v: no delayed values without dv_del; leave it out");
  if (op.dv_del.defined()) {
    c.optional_shape("dhalo_v", op.dhalo_v, {n.tokens / op.chunk, op.dv_del.shape[1]});
  }
  check_taps(c, op.switches, n, op.dw0, op.db0, op.dw1, op.db1);
  if (op.w0.defined()) c.shape("dw0", op.dw0, {op.w0.shape[0], n.channels});
  if (op.w1.defined()) c.shape("dw1", op.dw1, {heads + groups, op.w1.shape[1], width});
  check_present(c, "dtemp", op.dtemp, op.switches.norm, "with switches.norm");
  c.optional_shape("dtemp", op.dtemp, {n.groups});
  for (const ConstTensor& t : {op.dq, op.dk, op.dv}) c.dtype("dq, dk, dv", t, op.z.dtype);
  for (const Tensor& t : {op.dz, op.dv_cur, op.dv_del, op.dhalo_z, op.dhalo_v}) {
    c.dtype("activation gradients", t, op.z.dtype);
    for (const ConstTensor& in : {op.dq, op.dk, op.dv, op.z, op.halo_z}) {
      c.disjoint("an activation gradient", t, "an input", in);
    }
  }
  for (const Tensor& t : {op.dw0, op.db0, op.dw1, op.db1, op.dtemp}) {
    c.dtype("parameter gradients", t, stat_dtype(op.z.dtype));
  }
}

/// 2 T (H + G) d (n0 + n1 d) in the convolutions switched on; the element-wise rest is not counted.
Work work(const CcaMixFwd& op) {
  return {convolution_flops(op.z, op.w0, op.w1),
          bytes_of({op.z, op.v_cur, op.v_del, op.w0, op.b0, op.w1, op.b1, op.temp, op.positions,
                    op.doc_pos, op.halo_z, op.halo_v, op.q, op.k, op.v})};
}

/// Three times the forward's: the convolutions once more, then both gradients of each.
Work work(const CcaMixBwd& op) {
  return {3.0 * convolution_flops(op.z, op.w0, op.w1),
          bytes_of({op.dq,     op.dk,      op.dv,        op.z,       op.w0,     op.b0,   op.w1,
                    op.b1,     op.temp,    op.positions, op.doc_pos, op.halo_z, op.dz,   op.dv_cur,
                    op.dv_del, op.dhalo_z, op.dhalo_v,   op.dw0,     op.dw0,    op.db0,  op.db0,
                    op.dw1,    op.dw1,     op.db1,       op.db1,     op.dtemp,  op.dtemp})};
}

}  // namespace strait::kernels
