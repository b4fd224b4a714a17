#pragma once

#include <span>
#include <vector>

#include "parallel/peers.h"

namespace strait::parallel {

/// Sums at owners and hands out from there: by the group's collectives of that name or, with peers,
/// by ranks that write into each other's memory: others' terms arrive in a buffer and are added to
/// the owner's own, rank by rank; bf16 is rounded after each, as it may be by NCCL. Borrows the
/// group and the peers.
class OwnerExchange {
 public:
  /// peers: null for none; arriving [ranks, bytes] u8, the same on every rank, for them: what comes
  /// of each rank at a time.
  OwnerExchange(Communicator& group, Peers* peers, const Tensor& arriving)
      : group_(group), peers_(peers), arriving_(arriving) {}

  void sum_to_owners(std::span<const Owned> pieces, const Stream& stream, const char* what) const;
  /// With peers pieces lie at the same place of every rank's memory.
  void share_from_owners(std::span<const Owned> pieces, const Stream& stream,
                         const char* what) const;

 private:
  /// Part of a piece, and where it lies in what arrives of a rank.
  struct Fragment {
    Tensor data;
    std::int64_t at = 0;  // bytes
  };
  std::vector<Fragment> fragments(std::span<const Owned> pieces, int owner,
                                  std::int64_t round) const;
  std::int64_t rounds(std::span<const Owned> pieces) const;
  Tensor arriving_from(int rank, const Fragment& fragment) const;

  Communicator& group_;
  Peers* peers_;
  Tensor arriving_;
};

}  // namespace strait::parallel
