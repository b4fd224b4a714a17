#include "parallel/owner_exchange.h"

#include <algorithm>

#include "kernels/elementwise.h"
#include "kernels/launch.h"

namespace strait::parallel {
namespace {

std::int64_t bytes_of(const Tensor& x) {
  return static_cast<std::int64_t>(x.bytes());
}

}  // namespace

std::vector<OwnerExchange::Fragment> OwnerExchange::fragments(std::span<const Owned> pieces,
                                                              int owner, std::int64_t round) const {
  std::vector<Fragment> fragments;
  const std::int64_t room = arriving_.shape[1], begin = round * room;
  std::int64_t at = 0;
  for (const Owned& piece : pieces) {
    if (piece.owner != owner) continue;
    const auto element = static_cast<std::int64_t>(kernels::size_of(piece.data.dtype));
    const std::int64_t from = std::max(at, begin),
                       to = std::min(at + bytes_of(piece.data), begin + room);
    if (from < to) {
      fragments.push_back(
          {piece.data.slice(0, (from - at) / element, (to - from) / element), from - begin});
    }
    at += bytes_of(piece.data);
  }
  return fragments;
}

std::int64_t OwnerExchange::rounds(std::span<const Owned> pieces) const {
  std::vector<std::int64_t> bytes(static_cast<std::size_t>(group_.size()));
  for (const Owned& piece : pieces) bytes[piece.owner] += bytes_of(piece.data);
  const std::int64_t room = arriving_.shape[1];
  return (std::ranges::max(bytes) + room - 1) / room;
}

Tensor OwnerExchange::arriving_from(int rank, const Fragment& fragment) const {
  char* base = arriving_.as<char>() + rank * arriving_.shape[1] + fragment.at;
  return Tensor(base, fragment.data.dtype, {fragment.data.shape[0]});
}

void OwnerExchange::sum_to_owners(std::span<const Owned> pieces, const Stream& stream,
                                  const char* what) const {
  if (!peers_) return group_.sum_to_owners(pieces, stream, what);
  if (pieces.empty()) return;
  std::int64_t bytes = 0;
  for (const Owned& piece : pieces) {
    if (piece.owner != group_.rank()) bytes += bytes_of(piece.data);
  }
  group_.count(what, bytes);
  for (std::int64_t round = 0; round < rounds(pieces); ++round) {
    peers_->allow(arriving_, stream);
    for (int i = 0; i + 1 < group_.size(); ++i) {
      std::vector<Peers::Move> moves;
      for (const Fragment& fragment : fragments(pieces, group_.receiver(i), round)) {
        moves.push_back({fragment.data, arriving_from(group_.rank(), fragment)});
      }
      peers_->send(group_.receiver(i), moves, stream);
    }
    const std::vector<Fragment> own = fragments(pieces, group_.rank(), round);
    for (int i = 0; i + 1 < group_.size(); ++i) {
      peers_->await(group_.sender(i), stream);
      for (const Fragment& fragment : own) {
        const Tensor term = arriving_from(group_.sender(i), fragment);
        kernels::launch(kernels::Add{.a = fragment.data, .b = term, .y = fragment.data}, stream);
      }
    }
  }
}

void OwnerExchange::share_from_owners(std::span<const Owned> pieces, const Stream& stream,
                                      const char* what) const {
  if (!peers_) return group_.share_from_owners(pieces, stream, what);
  if (pieces.empty()) return;
  std::vector<Peers::Move> moves;
  std::int64_t bytes = 0;
  for (const Owned& piece : pieces) {
    if (piece.owner != group_.rank()) continue;
    moves.push_back({piece.data, piece.data});
    bytes += bytes_of(piece.data);
  }
  group_.count(what, bytes * (group_.size() - 1));
  peers_->allow(pieces.front().data, stream);
  for (int i = 0; i + 1 < group_.size(); ++i) peers_->send(group_.receiver(i), moves, stream);
  for (int i = 0; i + 1 < group_.size(); ++i) peers_->await(group_.sender(i), stream);
}

}  // namespace strait::parallel
