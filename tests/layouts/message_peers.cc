#include "tests/layouts/message_peers.h"

#include <cstring>

#include "core/error.h"

namespace strait::layouts {

std::string MessagePeers::place_of(const Tensor& target) const {
  for (const core::Arena* arena : arenas_) {
    const auto offset = target.as<char>() - arena->block().as<char>();
    if (offset >= 0 && offset < static_cast<std::ptrdiff_t>(arena->peak()))
      return arena->name() + " " + std::to_string(offset) + " " + target.shape_string();
  }
  throw core::RuntimeFault("a target lies in no arena: " + target.shape_string());
}

Tensor MessagePeers::rows_of(int rank) const {
  const std::int64_t each = target_.shape[0] / group_.size();
  return target_.slice(0, rank * each, each);
}

void MessagePeers::allow(const Tensor& target, const Stream&) {
  const std::string place = place_of(target);
  for (const std::string& other : group_.gather_all(place)) {
    if (other != place) throw core::RuntimeFault("targets lie at " + place + " and at " + other);
  }
  target_ = target;
  for (int rank = 0; rank < group_.size(); ++rank) {
    if (rank != group_.rank()) std::memset(rows_of(rank).data, 0xff, rows_of(rank).bytes());
  }
}

void MessagePeers::send(int peer, const ConstTensor& x, const Stream&) {
  sent_.push_back({peer, {x.as<char>(), x.bytes()}});
}

void MessagePeers::await(int, const Stream&) {
  if (!sent_.empty()) deliver();
}

void MessagePeers::deliver() {
  std::vector<parallel::Message> sends, receives;
  for (Sent& sent : sent_) {
    const auto size = static_cast<std::int64_t>(sent.bytes.size());
    sends.push_back({sent.peer, Tensor(sent.bytes.data(), DType::u8, {size})});
    receives.push_back({sent.peer, rows_of(sent.peer)});
  }
  group_.deliver(sends, receives, Stream{});
  sent_.clear();
}

}  // namespace strait::layouts
