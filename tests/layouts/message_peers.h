#pragma once

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/arena.h"
#include "parallel/peers.h"

namespace strait::layouts {

/// Peers in host memory, by messages: what layers do where ranks write to each other can so be
/// tried on a CPU. Refuses targets that lie at different places of the ranks' arenas, and delivers
/// no sooner than the first is awaited.
class MessagePeers final : public parallel::Peers {
 public:
  /// Borrows both.
  MessagePeers(parallel::Communicator& group, std::vector<const core::Arena*> arenas)
      : group_(group), arenas_(std::move(arenas)) {}

  void allow(const Tensor& target, const Stream& stream) override;
  using Peers::send;
  void send(int peer, std::span<const Move> moves, const Stream& stream) override;
  void await(int peer, const Stream& stream) override;

 private:
  struct Sent {
    int peer;
    std::int64_t offset;  // in the target
    std::string bytes;    // x may change once it is sent
  };

  std::string place_of(const Tensor& target) const;
  void deliver();

  parallel::Communicator& group_;
  std::vector<const core::Arena*> arenas_;
  Tensor target_;
  std::vector<Sent> sent_;
  bool under_way_ = false;
};

}  // namespace strait::layouts
