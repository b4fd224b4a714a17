#pragma once

#include <vector>

#include "parallel/ctx.h"

namespace strait::parallel {

/// The boundary between tokens, which stay with their data rank, and experts on other ranks of the
/// ep axis: rank j holds experts [j E / ep, (j + 1) E / ep). Rows sorted by expert go to the ranks
/// of their experts, none is dropped, and come back. The pair: dispatch (forward: rows, backward:
/// gradients of results) and collect (forward: results, backward: gradients of rows). Holds the
/// numbers of rows from `agree` on, on the host.
class ExpertExchange {
 public:
  /// offsets [E + 1] i32 of this rank's N sorted rows; tells all ranks. Waits for the stream.
  void agree(Ctx& ctx, ConstTensor offsets, std::int64_t rows);

  /// Rows that this rank's experts get. On the plan device as many as there could be.
  std::int64_t received() const { return received_; }
  /// First row of each of this rank's experts [E / ep + 1] i32, written to `offsets`.
  void write_offsets(Ctx& ctx, const Tensor& offsets) const;

  /// sorted [N, D] -> received [received(), D], by expert and then by source rank.
  void dispatch(Ctx& ctx, const Tensor& sorted, const Tensor& received, const char* what) const;
  /// The same beside what the stream does next, until await_beside (beside.h).
  void dispatch_beside(Ctx& ctx, const Tensor& sorted, const Tensor& received,
                       const char* what) const;
  /// The way back; rows of no expert are left alone.
  void collect(Ctx& ctx, const Tensor& received, const Tensor& sorted, const char* what) const;
  void collect_beside(Ctx& ctx, const Tensor& received, const Tensor& sorted,
                      const char* what) const;

 private:
  /// Of this rank's rows, and of the rows it gets: with whom they are exchanged.
  struct Parts {
    std::vector<Message> sorted, received;
  };
  Parts parts_of(const Tensor& sorted, const Tensor& received) const;

  int ranks_ = 1, rank_ = 0;
  std::int64_t experts_ = 0;  // of each rank
  std::int64_t received_ = 0;
  std::vector<std::int32_t> all_;  // [ranks, E + 1] offsets of every rank
  std::vector<std::int32_t> own_;  // [E / ep + 1]
};

}  // namespace strait::parallel
