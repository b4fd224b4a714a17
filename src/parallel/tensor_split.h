#pragma once

#include "parallel/beside.h"

// The boundary between rows that tensor ranks share out (sequence_cut.h: RowStripes) and layers
// that need all of a context rank's rows but split heads or widths. Two pairs:
//   forward                                 backward
//   whole_rows: all-gather of rows          summed_rows: reduce-scatter of their gradients
//   summed_rows: reduce-scatter of sums     whole_rows: all-gather of gradients
// With one tensor rank nothing is copied: the views are the caller's own.
namespace strait::parallel {

/// As x, with `ranks` times its rows, in ctx.scratch.
Tensor taller(Ctx& ctx, const ConstTensor& x, std::int64_t ranks);

/// x [T / tp, ..] of every tensor rank as [T, ..], in ctx.scratch.
ConstTensor whole_rows(Ctx& ctx, ConstTensor x, const char* what = "tp rows");

/// The same into `whole`.
void gather_rows(Ctx& ctx, ConstTensor x, const Tensor& whole, const char* what);

/// Where a layer writes its terms [T, ..] of the sum that ends in y [T / tp, ..].
Tensor terms_of(Ctx& ctx, const Tensor& y);

/// y = this rank's rows of the sum of `terms` over tensor ranks.
void summed_rows(Ctx& ctx, const Tensor& terms, const Tensor& y, const char* what = "tp sums");

/// The same beside what the stream does next, until await_beside (beside.h). Backward so hides rows
/// that weight gradients need behind what comes before these, and sums of input gradients behind
/// weight gradients.
ConstTensor whole_rows_beside(Ctx& ctx, ConstTensor x, const char* what = "tp rows");
void summed_rows_beside(Ctx& ctx, const Tensor& terms, const Tensor& y,
                        const char* what = "tp sums");

/// x as by whole_rows, stripe by stripe: calls each(rows, first) with rows [n, ..] from `first` on
/// while those of the next stripe are on their way.
template <class Each>
ConstTensor with_whole_rows(Ctx& ctx, ConstTensor x, const Each& each) {
  Communicator& group = ctx.groups.axis(core::Axis::tp);
  if (group.alone()) {
    each(x, 0);
    return x;
  }
  const Tensor whole = taller(ctx, x, group.size());
  const RowStripes stripes(whole.shape[0], group.size());
  const auto gather = [&](std::int64_t i) {
    beside(ctx, [&](const Stream& stream) {
      group.all_gather(stripes.own(x, i), stripes.all(whole, i), stream, "tp rows");
    });
  };
  gather(0);
  for (std::int64_t i = 0; i < stripes.count; ++i) {
    await_beside(ctx);
    if (i + 1 < stripes.count) gather(i + 1);
    each(stripes.all(whole, i), stripes.first(i));
  }
  return whole;
}

/// y = this rank's rows of the sum of terms over tensor ranks: calls each(terms, first) to have the
/// terms [n, ..] of rows from `first` on written, while those of the stripe before are summed.
template <class Each>
void with_summed_rows(Ctx& ctx, const Tensor& y, const Each& each) {
  Communicator& group = ctx.groups.axis(core::Axis::tp);
  if (group.alone()) return each(y, 0);
  const Tensor terms = taller(ctx, y, group.size());
  const RowStripes stripes(terms.shape[0], group.size());
  for (std::int64_t i = 0; i < stripes.count; ++i) {
    const Tensor part = stripes.all(terms, i);
    each(part, stripes.first(i));
    beside(ctx, [&](const Stream& stream) {
      group.reduce_scatter_sum(part, stripes.own(y, i), stream, "tp sums");
    });
  }
  await_beside(ctx);
}

}  // namespace strait::parallel
