#include <cmath>
#include <vector>

#include "kernels/attention.h"
#include "kernels/launch.h"
#include "tests/bench/attention/row.h"

namespace strait::bench {
namespace {

/// Interval of keys of every token, first and one past the last.
struct Intervals {
  std::vector<std::int32_t> begin, end;
};

Intervals intervals_of(const Row& row) {
  Intervals keys;
  for (std::int64_t t = 0; t < row.tokens(); ++t) {
    const std::int64_t document = t / row.length * row.length;
    keys.begin.push_back(static_cast<std::int32_t>(document));
    keys.end.push_back(static_cast<std::int32_t>(row.causal ? t + 1 : document + row.length));
  }
  return keys;
}

kernels::AttentionFwd forward_op(const Row& row, Pool& pool) {
  const std::int64_t tokens = row.tokens();
  const Intervals keys = intervals_of(row);
  return {.q = pool.normal(DType::bf16, {tokens, row.heads, row.key_dim}),
          .k = pool.normal(DType::bf16, {tokens, row.groups, row.key_dim}),
          .v = pool.normal(DType::bf16, {tokens, row.groups, row.value_dim}),
          .k_begin = pool.ints(keys.begin, {tokens}),
          .k_end = pool.ints(keys.end, {tokens}),
          .o = pool.raw(DType::bf16, {tokens, row.heads, row.value_dim}),
          .lse = pool.raw(DType::f32, {row.heads, tokens}),
          .scale = 1.0 / std::sqrt(static_cast<double>(row.key_dim))};
}

kernels::AttentionBwd backward_op(const Row& row, const kernels::AttentionFwd& f, Pool& pool) {
  const std::int64_t tokens = row.tokens();
  return {.dout = pool.normal(DType::bf16, {tokens, row.heads, row.value_dim}),
          .q = f.q,
          .k = f.k,
          .v = f.v,
          .o = f.o,
          .lse = f.lse,
          .k_begin = f.k_begin,
          .k_end = f.k_end,
          .dq = pool.raw(DType::bf16, {tokens, row.heads, row.key_dim}),
          .dk = pool.raw(DType::bf16, {tokens, row.groups, row.key_dim}),
          .dv = pool.raw(DType::bf16, {tokens, row.groups, row.value_dim}),
          .scale = f.scale};
}

}  // namespace

Times measure_core(const Row& row, const kernels::Stream& stream) {
  Pool& pool = empty_pool(stream);
  const kernels::AttentionFwd forward = forward_op(row, pool);
  const auto run_forward = [&] { kernels::launch(forward, stream); };
  run_forward();
  Times times;
  if (row.only != "bwd") times.fwd_ms = median_ms(row, stream, run_forward);
  if (row.only == "fwd") return times;
  const kernels::AttentionBwd backward = backward_op(row, forward, pool);
  const auto run_backward = [&] { kernels::launch(backward, stream); };
  run_backward();
  times.bwd_ms = median_ms(row, stream, run_backward);
  return times;
}

}  // namespace strait::bench
