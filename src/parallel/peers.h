#pragma once

#include <memory>
#include <span>
#include <vector>

#include "parallel/communicator.h"

namespace strait::parallel {

/// Ranks of a group that write into each other's memory, in targets that lie at the same place on
/// all of them. An exchange is: every rank allows the others to write, then sends to each, then
/// awaits each; it ends before the next begins, and streams that await one after the other are
/// ordered so. Everything is enqueued and can be captured.
class Peers {
 public:
  Peers() = default;
  virtual ~Peers() = default;
  Peers(const Peers&) = delete;
  Peers& operator=(const Peers&) = delete;

  /// What is enqueued so far was the last use of `target`, which peers may now write. Throws
  /// RuntimeFault when it does not lie at the same place on every rank.
  virtual void allow(const Tensor& target, const Stream& stream) = 0;
  /// Copies x to the part of a peer's target that lies there where `part` does here.
  struct Move {
    ConstTensor x;
    Tensor part;
  };
  /// Does so once `peer` allows it.
  virtual void send(int peer, std::span<const Move> moves, const Stream& stream) = 0;
  void send(int peer, const ConstTensor& x, const Tensor& part, const Stream& stream) {
    const Move move{x, part};
    send(peer, std::span(&move, 1), stream);
  }
  /// `stream` goes on when what `peer` sent is here.
  virtual void await(int peer, const Stream& stream) = 0;
};

/// Ranks whose GPUs share a host, by their copy engines: multiprocessors stay with the model, which
/// NCCL's kernels take them from. Targets lie in `blocks`, one memory block each. Collective; null
/// where a rank does not reach another's memory. Borrows the group and the blocks, which outlive
/// it.
std::unique_ptr<Peers> connect_peers(Communicator& group, const std::vector<Tensor>& blocks);

/// Those of a rank, by what they are for; null: by the group's collectives. Exchanges of one may be
/// under way beside those of another, but for the last two, which one stream runs.
struct PeerLinks {
  Peers* tensor = nullptr;                                          // tensor_split.h
  Peers *ahead = nullptr, *dispatch = nullptr, *collect = nullptr;  // expert_exchange.h
  Peers *data = nullptr, *expert_data = nullptr;                    // grad_sync.h
  Tensor arriving = {};  // [data ranks, bytes] u8 for those two, see OwnerExchange
};

}  // namespace strait::parallel
