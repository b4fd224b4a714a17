#pragma once

#include <memory>
#include <vector>

#include "parallel/communicator.h"

namespace strait::parallel {

/// Ranks of a group that write into each other's memory: each has rows of its own in a target that
/// lies at the same place on all of them. An exchange is: every rank allows the others to write,
/// then sends, then awaits; it ends before the next begins. Everything is enqueued and can be
/// captured.
class Peers {
 public:
  Peers() = default;
  virtual ~Peers() = default;
  Peers(const Peers&) = delete;
  Peers& operator=(const Peers&) = delete;

  /// What is enqueued so far was the last use of `target` [n ranks, ..], which peers may now write.
  /// Throws RuntimeFault when it does not lie at the same place on every rank.
  virtual void allow(const Tensor& target, const Stream& stream) = 0;
  /// Copies x to this rank's rows of the target at `peer`, once that allows it.
  virtual void send(int peer, const ConstTensor& x, const Stream& stream) = 0;
  /// `stream` goes on when the rows of `peer` are here.
  virtual void await(int peer, const Stream& stream) = 0;
};

/// Ranks whose GPUs share a host, by their copy engines: multiprocessors stay with the model, which
/// NCCL's kernels take them from. Targets lie in `blocks`, one memory block each. Collective; null
/// where a rank does not reach another's memory. Borrows the group and the blocks, which outlive
/// it.
std::unique_ptr<Peers> connect_peers(Communicator& group, const std::vector<Tensor>& blocks);

}  // namespace strait::parallel
