#include "parallel/tensor_split.h"

namespace strait::parallel {
namespace {

void gather(Communicator& group, const ConstTensor& x, const Tensor& whole, const Stream& stream,
            const char* what) {
  const RowStripes stripes(whole.shape[0], group.size());
  for (std::int64_t i = 0; i < stripes.count; ++i) {
    group.all_gather(stripes.own(x, i), stripes.all(whole, i), stream, what);
  }
}

void sum(Communicator& group, const Tensor& terms, const Tensor& y, const Stream& stream,
         const char* what) {
  const RowStripes stripes(terms.shape[0], group.size());
  for (std::int64_t i = 0; i < stripes.count; ++i) {
    group.reduce_scatter_sum(stripes.all(terms, i), stripes.own(y, i), stream, what);
  }
}

}  // namespace

Tensor taller(Ctx& ctx, const ConstTensor& x, std::int64_t ranks) {
  if (x.rank == 1) return ctx.scratch.take(x.dtype, {x.shape[0] * ranks});
  return ctx.scratch.take(x.dtype, {x.shape[0] * ranks, x.shape[1]});
}

ConstTensor whole_rows(Ctx& ctx, ConstTensor x, const char* what) {
  Communicator& group = ctx.groups.axis(core::Axis::tp);
  if (group.alone()) return x;
  const Tensor whole = taller(ctx, x, group.size());
  gather(group, x, whole, ctx.stream, what);
  return whole;
}

void gather_rows(Ctx& ctx, ConstTensor x, const Tensor& whole, const char* what) {
  gather(ctx.groups.axis(core::Axis::tp), x, whole, ctx.stream, what);
}

Tensor terms_of(Ctx& ctx, const Tensor& y) {
  const Communicator& group = ctx.groups.axis(core::Axis::tp);
  return group.alone() ? y : taller(ctx, y, group.size());
}

void summed_rows(Ctx& ctx, const Tensor& terms, const Tensor& y, const char* what) {
  Communicator& group = ctx.groups.axis(core::Axis::tp);
  if (!group.alone()) sum(group, terms, y, ctx.stream, what);
}

ConstTensor whole_rows_beside(Ctx& ctx, ConstTensor x, const char* what) {
  Communicator& group = ctx.groups.axis(core::Axis::tp);
  if (group.alone()) return x;
  const Tensor whole = taller(ctx, x, group.size());
  beside(ctx, [&](const Stream& stream) { gather(group, x, whole, stream, what); });
  return whole;
}

void summed_rows_beside(Ctx& ctx, const Tensor& terms, const Tensor& y, const char* what) {
  Communicator& group = ctx.groups.axis(core::Axis::tp);
  if (group.alone()) return;
  beside(ctx, [&](const Stream& stream) { sum(group, terms, y, stream, what); });
}

}  // namespace strait::parallel
