#pragma once

#include "parallel/beside.h"

// The boundary between rows that tensor ranks share out (each has as many, in rank order) and
// layers that need all of a context rank's rows but split heads or widths. Two pairs:
//   forward                                 backward
//   whole_rows: all-gather of rows          summed_rows: reduce-scatter of their gradients
//   summed_rows: reduce-scatter of sums     whole_rows: all-gather of gradients
// With one tensor rank nothing is copied: the views are the caller's own. Where ranks reach each
// other's memory (Ctx::peers) rows go straight there; else by the group's collectives.
namespace strait::parallel {

/// As x, with `ranks` times its rows, in ctx.scratch.
Tensor taller(Ctx& ctx, const ConstTensor& x, std::int64_t ranks);

/// x [T / tp, ..] of every tensor rank as [T, ..], in ctx.scratch.
ConstTensor whole_rows(Ctx& ctx, ConstTensor x, const char* what = "tp rows");

/// The same into `whole`.
void gather_rows(Ctx& ctx, ConstTensor x, const Tensor& whole, const char* what);

/// Where a layer writes its terms [T, ..] of the sum that ends in y [T / tp, ..].
Tensor terms_of(Ctx& ctx, const Tensor& y);

/// y = this rank's rows of the sum of `terms` over tensor ranks. Takes scratch of the caller's
/// frame.
void summed_rows(Ctx& ctx, const Tensor& terms, const Tensor& y, const char* what = "tp sums");

/// The same beside what the stream does next, until await_beside (beside.h). Backward so hides rows
/// that weight gradients need behind what comes before these, and sums of input gradients behind
/// weight gradients.
ConstTensor whole_rows_beside(Ctx& ctx, ConstTensor x, const char* what = "tp rows");
void summed_rows_beside(Ctx& ctx, const Tensor& terms, const Tensor& y,
                        const char* what = "tp sums");

/// One exchange of rows between tensor ranks that write to each other (Ctx::peers), on the lane
/// beside the model: what it takes to run a rank's rows while those of the others move.
class RowExchange {
 public:
  /// `target`: [T, ..] here and at the peers, written by them.
  RowExchange(Ctx& ctx, const Tensor& target, const char* what);

  int own() const { return group_.rank(); }
  int peers() const { return group_.size() - 1; }
  /// Rows of `rank`, and the first of them.
  template <class Rows>
  Rows rows_of(const Rows& whole, int rank) const {
    return whole.slice(0, first(rank), each_);
  }
  std::int64_t first(int rank) const { return rank * each_; }

  /// Sends x, this rank's rows; what the stream holds so far comes first.
  void send(int peer, const ConstTensor& x);
  /// The stream goes on when the rows of `peer` are there.
  void await(int peer);
  /// Sends x to all, copies it to its place here and waits for theirs, all beside the stream.
  void gather(const ConstTensor& x);
  /// Sends to each its rows of `terms`; y = own ones + those in `target`, all beside the stream.
  void sum(const Tensor& terms, const Tensor& y);
  /// y = this rank's terms + those in `target`, in rank order; bf16 is rounded after each.
  void add_up(const ConstTensor& own_terms, const Tensor& y, const Stream& stream) const;

 private:
  Ctx& ctx_;
  Communicator& group_;
  Tensor target_;
  std::int64_t each_;
};

/// x as by whole_rows, rank by rank: calls each(rows, first) with rows [n, ..] from `first` on,
/// this rank's while those of the others are on their way.
template <class Each>
void with_whole_rows(Ctx& ctx, ConstTensor x, const Each& each) {
  Communicator& group = ctx.groups.axis(core::Axis::tp);
  if (group.alone()) return each(x, 0);
  const Tensor whole = taller(ctx, x, group.size());
  if (!ctx.peers.tensor) {
    group.all_gather(x, whole, ctx.stream, "tp rows");
    return each(whole, 0);
  }
  RowExchange exchange(ctx, whole, "tp rows");
  for (int i = 0; i < exchange.peers(); ++i) exchange.send(group.receiver(i), x);
  each(x, exchange.first(exchange.own()));
  for (int i = 0; i < exchange.peers(); ++i) {
    const int peer = group.sender(i);
    exchange.await(peer);
    each(exchange.rows_of(whole, peer), exchange.first(peer));
  }
  await_beside(ctx);
}

/// y = this rank's rows of the sum of terms over tensor ranks: calls each(terms, first) to have the
/// terms [n, ..] of rows from `first` on written, its own while those for the others move.
template <class Each>
void with_summed_rows(Ctx& ctx, const Tensor& y, const Each& each) {
  Communicator& group = ctx.groups.axis(core::Axis::tp);
  if (group.alone()) return each(y, 0);
  const Tensor terms = taller(ctx, y, group.size());
  const Tensor received = taller(ctx, y, group.size());
  if (!ctx.peers.tensor) {
    each(terms, 0);
    return group.reduce_scatter_sum(terms, y, ctx.stream, "tp sums");
  }
  RowExchange exchange(ctx, received, "tp sums");
  const auto write = [&](int rank) {
    const Tensor rows = exchange.rows_of(terms, rank);
    each(rows, exchange.first(rank));
    return rows;
  };
  for (int i = 0; i < exchange.peers(); ++i) {
    const int peer = group.receiver(i);
    exchange.send(peer, write(peer));
  }
  const Tensor own = write(exchange.own());
  for (int i = 0; i < exchange.peers(); ++i) exchange.await(group.sender(i));
  exchange.add_up(own, y, ctx.stream);
  await_beside(ctx);
}

}  // namespace strait::parallel
