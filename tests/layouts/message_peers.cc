#include "tests/layouts/message_peers.h"

#include <sstream>

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

void MessagePeers::allow(const Tensor& target, const Stream&) {
  if (under_way_) throw core::RuntimeFault("an exchange begins before the last one was awaited");
  const std::string place = place_of(target);
  for (const std::string& other : group_.gather_all(place)) {
    if (other != place) throw core::RuntimeFault("targets lie at " + place + " and at " + other);
  }
  target_ = target;
  under_way_ = true;
}

void MessagePeers::send(int peer, std::span<const Move> moves, const Stream&) {
  for (const auto& [x, part] : moves) {
    sent_.push_back(
        {peer, part.as<char>() - target_.as<char>(), std::string(x.as<char>(), x.bytes())});
  }
}

void MessagePeers::await(int, const Stream&) {
  if (under_way_) deliver();
}

/// Tells all ranks where what they get belongs, then sends it.
void MessagePeers::deliver() {
  std::ostringstream mine;
  std::vector<parallel::Message> sends, receives;
  const auto bytes = [](void* data, std::size_t size) {
    return Tensor(data, DType::u8, {static_cast<std::int64_t>(size)});
  };
  for (Sent& sent : sent_) {
    mine << sent.peer << ' ' << sent.offset << ' ' << sent.bytes.size() << ' ';
    sends.push_back({sent.peer, bytes(sent.bytes.data(), sent.bytes.size())});
  }
  const std::vector<std::string> all = group_.gather_all(mine.str());
  for (int source = 0; source < group_.size(); ++source) {
    std::istringstream theirs(all[source]);
    int peer = 0;
    std::size_t offset = 0, size = 0;
    while (theirs >> peer >> offset >> size) {
      if (peer == group_.rank())
        receives.push_back({source, bytes(target_.as<char>() + offset, size)});
    }
  }
  group_.deliver(sends, receives, Stream{});
  sent_.clear();
  under_way_ = false;
}

}  // namespace strait::layouts
