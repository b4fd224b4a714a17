#pragma once

#include "parallel/ctx.h"

// The boundary between queries, which stay with their context rank, and the keys and values of
// other ranks. What travels are key rows [T, G dk + G dv], keys and values side by side. Two ways:
//   gather:  forward all-gathers the rows; backward reduce-scatters their gradients
//   ring:    rows go round rank by rank; in backward their gradients travel with them
namespace strait::parallel {

/// k [T, G, dk] and v [T, G, dv] as key rows in ctx.scratch.
Tensor key_rows(Ctx& ctx, ConstTensor k, ConstTensor v);

/// Views of key rows: [rows, G, dk] and [rows, G, dv].
struct KeysValues {
  Tensor k, v;
};
KeysValues keys_of(const Tensor& rows, std::int64_t groups, std::int64_t key_width,
                   std::int64_t value_width);

/// The key rows of all context ranks [cp T, W] in the order of the sequences, in ctx.scratch.
Tensor gather_keys(Ctx& ctx, const Tensor& rows);
/// Gradients of gathered rows, summed over context ranks: those of this rank's rows [T, W].
void scatter_key_gradients(Ctx& ctx, const Tensor& dgathered, const Tensor& drows);

/// Hands `mine` to the next rank of the ring and takes the one before's into `next`.
void pass_on(Ctx& ctx, const Tensor& mine, const Tensor& next, const char* what);

/// Bytes that a context rank sends for one attention core, forward and backward, with T key rows
/// of `width` elements (keys and values) of `element` bytes, `sum_element` where sums travel:
/// gather: 3 (cp - 1) T width element, as backward gathers the keys again;
/// ring: (2 (cp - 1) element + cp sum_element) T width.
double exchange_bytes(bool ring, std::int64_t cp, std::int64_t rows, std::int64_t width,
                      std::size_t element, std::size_t sum_element);

}  // namespace strait::parallel
