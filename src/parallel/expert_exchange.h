#pragma once

#include <vector>

#include "parallel/ctx.h"

namespace strait::parallel {

/// The boundary between tokens, which stay with their data rank, and experts on other ranks of the
/// ep axis: rank j holds experts [j E / ep, (j + 1) E / ep). Rows sorted by expert go to the ranks
/// of their experts, none is dropped, and come back. The pair: dispatch (forward: rows, backward:
/// gradients of results) and collect (forward: results, backward: gradients of rows). A rank's
/// experts get one block of rows from each rank; its own never move. Others are in flight beside
/// what the stream does (beside.h), straight between memories where ranks reach each other
/// (Ctx::peers). Holds the numbers of rows from `agree` on, on the host.
class ExpertExchange {
 public:
  /// The rows of `source` for this rank's experts, sorted by expert.
  struct Block {
    int source = 0;
    std::int64_t first = 0;  // in a buffer of received rows
    std::int64_t rows = 0;
    ConstTensor offsets;  // [E / ep + 1] i32: first row of each expert in the block
  };

  /// offsets [E + 1] i32 of this rank's N sorted rows, N alike on all ranks; tells them. Waits for
  /// the stream. The blocks' offsets go to `block_offsets` [ep, E / ep + 1].
  void agree(Ctx& ctx, ConstTensor offsets, std::int64_t rows, const Tensor& block_offsets);

  int ranks() const { return ranks_; }
  /// Rows of a buffer that holds what all ranks can send: ep N.
  std::int64_t capacity() const { return ranks_ * rows_; }
  /// This rank's own at i = 0, then in the order in which they arrive.
  Block block(int i) const;
  /// Where the rows of a block are: among this rank's `sorted` rows or those `received`.
  template <class Rows>
  Rows rows_of(const Block& block, const Rows& sorted, const Rows& received) const {
    if (block.source == rank_) return sorted.slice(0, first(rank_, rank_ * experts_), block.rows);
    return received.slice(0, block.first, block.rows);
  }

  /// sorted [N, D] -> received [capacity(), D]. Every block is to be awaited.
  void dispatch(Ctx& ctx, const Tensor& sorted, const Tensor& received, const char* what) const;
  void await(Ctx& ctx, const Block& block) const;
  /// The same for rows that may be under way while others are dispatched and awaited.
  void dispatch_ahead(Ctx& ctx, const Tensor& sorted, const Tensor& received,
                      const char* what) const;
  void await_ahead(Ctx& ctx, const Block& block) const;

  /// The way back: received [capacity(), D] -> sorted [N, D], block by block. Rows of no expert and
  /// this rank's own are left alone.
  void begin_collect(Ctx& ctx, const Tensor& sorted, const char* what) const;
  /// Sends block i back; call it for each in order.
  void collect(Ctx& ctx, int i, const Tensor& received, const Tensor& sorted,
               const char* what) const;
  /// `sorted` is complete.
  void end_collect(Ctx& ctx) const;

 private:
  /// Of this rank's rows, and of the rows it gets: with whom they are exchanged.
  struct Parts {
    std::vector<Message> sorted, received;
  };
  Parts parts_of(const Tensor& sorted, const Tensor& received) const;
  void balance(std::int64_t entries);
  void write_offsets(Ctx& ctx);
  void send(Ctx& ctx, Peers* peers, const Tensor& sorted, const Tensor& received,
            const char* what) const;
  void await(Ctx& ctx, Peers* peers, const Block& block) const;

  /// The first row of `rank` for an expert, and how many it has for all experts of `owner`.
  std::int64_t first(int rank, std::int64_t expert) const {
    return all_[static_cast<std::size_t>(rank * (ranks_ * experts_ + 1) + expert)];
  }
  std::int64_t sent(int rank, int owner) const {
    return first(rank, (owner + 1) * experts_) - first(rank, owner * experts_);
  }
  /// Those rows where `rank` has them, and where `owner` receives what `source` sent.
  Tensor rows_for(int owner, const Tensor& sorted, int rank) const;
  Tensor rows_from(int source, const Tensor& received, int owner) const;
  /// Rows of this rank that are for no expert.
  std::int64_t skipped() const { return rows_ - first(rank_, ranks_ * experts_); }

  Communicator* group_ = nullptr;  // since agree
  int ranks_ = 1, rank_ = 0;
  std::int64_t experts_ = 0;  // of each rank
  std::int64_t rows_ = 0;
  std::vector<std::int32_t> all_;     // [ranks, E + 1] offsets of every rank
  std::vector<std::int32_t> blocks_;  // [ranks, E / ep + 1] offsets inside blocks
  Tensor block_offsets_;              // the same on the device
};

}  // namespace strait::parallel
