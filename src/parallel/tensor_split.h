#pragma once

#include "parallel/ctx.h"

// The boundary between rows that tensor ranks share out and layers that need all of a context
// rank's rows but split heads or widths. Two pairs:
//   forward                                 backward
//   whole_rows: all-gather of rows          summed_rows: reduce-scatter of their gradients
//   summed_rows: reduce-scatter of sums     whole_rows: all-gather of gradients
// With one tensor rank nothing is copied: the views are the caller's own.
namespace strait::parallel {

/// x [T / tp, ..] of every tensor rank as [T, ..], in ctx.scratch.
ConstTensor whole_rows(Ctx& ctx, ConstTensor x, const char* what = "tp rows");

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

}  // namespace strait::parallel
