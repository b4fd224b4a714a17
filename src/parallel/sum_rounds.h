#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "parallel/communicator.h"

// The order in which ranks sum tensors that each of them owns in part, on the host.
namespace strait::parallel {

/// Elements of one pass of a sum: bounds the workspace to 8 bytes times this, for each rank. It is
/// in no memory plan, so it stays small.
inline constexpr std::int64_t kSumBlock = std::int64_t{1} << 16;

/// `count` elements of x, which is contiguous.
inline Tensor fragment_of(const Tensor& x, std::int64_t first, std::int64_t count) {
  const auto size = static_cast<std::int64_t>(size_of(x.dtype));
  return Tensor(static_cast<char*>(x.data) + first * size, x.dtype, {count});
}

/// Cuts what each rank of a group owns into fragments of at most kSumBlock elements together a
/// round. `pieces` must outlive it.
class SumRounds {
 public:
  SumRounds(const std::vector<Owned>& pieces, int ranks)
      : pieces_(pieces), cursors_(static_cast<std::size_t>(ranks)), now_(cursors_.size()) {}

  /// Goes on to the next round; false when all fragments were seen.
  bool next() {
    bool any = false;
    for (std::size_t r = 0; r < now_.size(); ++r) {
      cut(static_cast<int>(r));
      any = any || !now_[r].empty();
    }
    return any;
  }
  /// This round's fragments of what `rank` owns.
  const std::vector<Tensor>& of(int rank) const { return now_[static_cast<std::size_t>(rank)]; }

 private:
  struct Cursor {
    std::size_t piece = 0;
    std::int64_t begin = 0;  // in the piece
  };

  void cut(int rank) {
    Cursor& at = cursors_[static_cast<std::size_t>(rank)];
    std::vector<Tensor>& fragments = now_[static_cast<std::size_t>(rank)];
    fragments.clear();
    for (std::int64_t room = kSumBlock; room > 0 && at.piece < pieces_.size();) {
      const Tensor& whole = pieces_[at.piece].data;
      const std::int64_t left = whole.numel() - at.begin, n = std::min(room, left);
      if (pieces_[at.piece].owner == rank && n > 0) {
        fragments.push_back(fragment_of(whole, at.begin, n));
        room -= n;
        at.begin += n;
        if (n < left) return;
      }
      at = {at.piece + 1, 0};
    }
  }

  const std::vector<Owned>& pieces_;
  std::vector<Cursor> cursors_;
  std::vector<std::vector<Tensor>> now_;
};

}  // namespace strait::parallel
