#include "parallel/agreement.h"

#include <cstring>
#include <fstream>
#include <sstream>
#include <vector>

#include "core/build_info.h"
#include "core/error.h"
#include "core/host_name.h"

namespace strait::parallel {
namespace {

/// From the first line on where they differ, at most a few hundred characters.
std::string difference(const std::string& a, const std::string& b) {
  std::istringstream mine(a), other(b);
  std::string left, right;
  while (std::getline(mine, left) && std::getline(other, right)) {
    if (left != right) break;
  }
  constexpr std::size_t kMost = 200;
  return "\"" + left.substr(0, kMost) + "\" on rank 0, \"" + right.substr(0, kMost) + "\" there";
}

}  // namespace

void require_same(Communicator& world, const std::string& what, const std::string& mine,
                  const std::string& remedy) {
  const std::vector<std::string> all = world.gather_all(mine);
  const std::vector<std::string> hosts = world.gather_all(core::host_name());
  together(world, [&] {
    if (world.rank() != 0) return;
    for (std::size_t rank = 1; rank < all.size(); ++rank) {
      if (all[rank] == all[0]) continue;
      throw core::InputError("rank " + std::to_string(rank) + " on " + hosts[rank] +
                             " has another " + what + ": " + difference(all[0], all[rank]) + "; " +
                             remedy);
    }
  });
}

std::string program_identity() {
  std::ifstream file("/proc/self/exe", std::ios::binary);
  std::vector<char> block(std::size_t{1} << 20);
  std::uint64_t hash = 1469598103934665603u, bytes = 0;  // FNV-1a over words of eight bytes
  while (file.read(block.data(), static_cast<std::streamsize>(block.size())) || file.gcount() > 0) {
    const auto count = static_cast<std::size_t>(file.gcount());
    std::memset(block.data() + count, 0, block.size() - count);
    for (std::size_t at = 0; at < count; at += sizeof hash) {
      std::uint64_t word = 0;
      std::memcpy(&word, block.data() + at, sizeof word);
      hash = (hash ^ word) * 1099511628211u;
    }
    bytes += count;
  }
  return core::revision() + ", " + core::build_flags() + ", " + std::to_string(bytes) +
         " bytes, hash " + std::to_string(hash);
}

}  // namespace strait::parallel
