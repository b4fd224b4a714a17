#include "parallel/peers.h"

#include <algorithm>
#include <set>
#include <string>

#include "core/error.h"
#include "kernels/elementwise.h"
#include "kernels/launch.h"
#include "kernels/memory.h"
#include "kernels/peer.h"
#include "parallel/host_ranks.h"

namespace strait::parallel {
namespace {

/// A block of memory that each rank of a group has, and where this process finds those of others.
class SharedBlock {
 public:
  explicit SharedBlock(const Tensor& own) : own_(own) {}
  SharedBlock(SharedBlock&&) = default;
  ~SharedBlock() {
    for (void* opened : of_rank_) kernels::close_block(Device::cuda, opened);
  }

  /// Collective; false where this rank does not reach all of them.
  bool open(Communicator& group) {
    const auto exported = group.gather_all(kernels::export_block(Device::cuda, own_.data));
    of_rank_.resize(exported.size());
    for (int rank = 0; rank < group.size(); ++rank) {
      if (rank == group.rank()) continue;
      of_rank_[rank] = kernels::open_block(Device::cuda, exported[rank]);
      if (!of_rank_[rank]) return false;
    }
    return true;
  }
  bool holds(const void* data) const {
    return data >= own_.data && data < static_cast<const char*>(own_.data) + own_.bytes();
  }
  std::ptrdiff_t offset(const void* data) const {
    return static_cast<const char*>(data) - static_cast<const char*>(own_.data);
  }
  /// What lies at `peer` where `data` lies here.
  void* at(int peer, const void* data) const {
    return static_cast<char*>(of_rank_[peer]) + offset(data);
  }

 private:
  Tensor own_;
  std::vector<void*> of_rank_;  // null: this rank's
};

/// Flags that ranks set for each other, in a block of their own.
class Flags {
 public:
  enum Kind : std::uint8_t { kAllowed, kArrived };

  explicit Flags(int ranks) : ranks_(ranks) {
    const std::int64_t words = 2 * ranks + 1;
    const auto bytes = static_cast<std::size_t>(words) * sizeof(std::int32_t);
    words_ = Tensor(kernels::allocate(Device::cuda, bytes), DType::i32, {words});
    const Stream stream{.device = Device::cuda};
    kernels::launch(kernels::Fill{.x = words_, .value = 0}, stream);
    kernels::launch(kernels::Fill{.x = words_.slice(0, 2 * ranks, 1), .value = 1}, stream);
    kernels::synchronise(stream);
  }
  ~Flags() { kernels::release(Device::cuda, words_.data); }
  Flags(const Flags&) = delete;
  Flags& operator=(const Flags&) = delete;

  const Tensor& words() const { return words_; }
  void* set_by(int rank, Kind kind) const { return word(kind * ranks_ + rank); }
  const void* one() const { return word(2 * ranks_); }

 private:
  void* word(int i) const { return words_.as<std::int32_t>() + i; }

  int ranks_;
  Tensor words_;
};

class CopyPeers final : public Peers {
 public:
  CopyPeers(Communicator& group, const std::vector<Tensor>& blocks)
      : group_(group), flags_(group.size()), shared_flags_(flags_.words()) {
    for (const Tensor& block : blocks) blocks_.emplace_back(block);
  }

  /// Collective; false where some rank does not reach all memory.
  bool open() {
    if (!host_ranks(group_).all()) return false;  // alike on all ranks
    bool reached = shared_flags_.open(group_);
    for (SharedBlock& block : blocks_) reached = block.open(group_) && reached;
    const auto all = group_.gather_all(reached ? "1" : "0");
    return std::ranges::count(all, "1") == group_.size();
  }

  void allow(const Tensor& target, const Stream& stream) override {
    require_same_place(target);
    for (int peer = 0; peer < group_.size(); ++peer) {
      if (peer != group_.rank()) signal(peer, Flags::kAllowed, stream);
    }
  }
  using Peers::send;
  void send(int peer, std::span<const Move> moves, const Stream& stream) override {
    kernels::await_flag(flags_.set_by(peer, Flags::kAllowed), stream);
    for (const auto& [x, part] : moves) {
      kernels::copy_on_device(block_of(part).at(peer, part.data), x.data, x.bytes(), stream);
    }
    signal(peer, Flags::kArrived, stream);
  }
  void await(int peer, const Stream& stream) override {
    kernels::await_flag(flags_.set_by(peer, Flags::kArrived), stream);
  }

 private:
  void signal(int peer, Flags::Kind kind, const Stream& stream) {
    void* there = shared_flags_.at(peer, flags_.set_by(group_.rank(), kind));
    kernels::copy_on_device(there, flags_.one(), sizeof(std::int32_t), stream);
  }
  const SharedBlock& block_of(const Tensor& target) const {
    const auto found = std::ranges::find_if(
        blocks_, [&](const SharedBlock& block) { return block.holds(target.data); });
    if (found == blocks_.end()) {
      throw core::RuntimeFault("peers: " + target.shape_string() +
                               " lies in none of the blocks that ranks have opened");
    }
    return *found;
  }
  /// Asks once for each place. While places are alike, ranks ask together; should they come to
  /// differ later, those that ask wait for those that do not, and the watchdog ends the run.
  void require_same_place(const Tensor& target) {
    const SharedBlock& block = block_of(target);
    const std::string place = std::to_string(&block - blocks_.data()) + ":" +
                              std::to_string(block.offset(target.data)) + " " +
                              target.shape_string();
    if (!agreed_.insert(place).second) return;
    for (const std::string& other : group_.gather_all(place)) {
      if (other == place) continue;
      throw core::RuntimeFault("peers: a target lies at " + place + " on this rank and at " +
                               other + " on another; parallel.overlap = false does without");
    }
  }

  Communicator& group_;
  Flags flags_;
  SharedBlock shared_flags_;  // closed before the flags are released
  std::vector<SharedBlock> blocks_;
  std::set<std::string> agreed_;
};

}  // namespace

std::unique_ptr<Peers> connect_peers(Communicator& group, const std::vector<Tensor>& blocks) {
  auto peers = std::make_unique<CopyPeers>(group, blocks);
  if (!peers->open()) return nullptr;
  return peers;
}

}  // namespace strait::parallel
