#include "parallel/tensor_split.h"

#include "parallel/beside.h"

namespace strait::parallel {
namespace {

/// As x, with `ranks` times its rows, in ctx.scratch.
Tensor taller(Ctx& ctx, const ConstTensor& x, std::int64_t ranks) {
  if (x.rank == 1) return ctx.scratch.take(x.dtype, {x.shape[0] * ranks});
  return ctx.scratch.take(x.dtype, {x.shape[0] * ranks, x.shape[1]});
}

}  // namespace

ConstTensor whole_rows(Ctx& ctx, ConstTensor x, const char* what) {
  Communicator& group = ctx.groups.axis(core::Axis::tp);
  if (group.alone()) return x;
  const Tensor whole = taller(ctx, x, group.size());
  group.all_gather(x, whole, ctx.stream, what);
  return whole;
}

Tensor terms_of(Ctx& ctx, const Tensor& y) {
  const Communicator& group = ctx.groups.axis(core::Axis::tp);
  return group.alone() ? y : taller(ctx, y, group.size());
}

void summed_rows(Ctx& ctx, const Tensor& terms, const Tensor& y, const char* what) {
  Communicator& group = ctx.groups.axis(core::Axis::tp);
  if (!group.alone()) group.reduce_scatter_sum(terms, y, ctx.stream, what);
}

ConstTensor whole_rows_beside(Ctx& ctx, ConstTensor x, const char* what) {
  Communicator& group = ctx.groups.axis(core::Axis::tp);
  if (group.alone()) return x;
  const Tensor whole = taller(ctx, x, group.size());
  beside(ctx, [&](const Stream& stream) { group.all_gather(x, whole, stream, what); });
  return whole;
}

void summed_rows_beside(Ctx& ctx, const Tensor& terms, const Tensor& y, const char* what) {
  Communicator& group = ctx.groups.axis(core::Axis::tp);
  if (group.alone()) return;
  beside(ctx, [&](const Stream& stream) { group.reduce_scatter_sum(terms, y, stream, what); });
}

}  // namespace strait::parallel
