#include "parallel/comm_buffers.h"

#include <algorithm>
#include <bit>

namespace strait::parallel {
namespace {

constexpr std::size_t kKiB = 1024, kMiB = 1024 * kKiB;

// Memory that another process maps comes in blocks of this.
constexpr std::size_t kGranule = 2 * kMiB;
constexpr std::size_t granules(std::size_t bytes) {
  return (bytes + kGranule - 1) / kGranule * kGranule;
}

// One side of a connection: a page of flags, at the receiving side a buffer for each protocol.
constexpr std::size_t kFlags = 4 * kKiB;
constexpr std::size_t kSimple = 4 * kMiB;  // NCCL_BUFFSIZE
constexpr std::size_t kLL =
    std::size_t{8} * 512 * 8 * 16;  // steps, threads, lines, bytes of a line
constexpr std::size_t kLL128 = std::size_t{8} * 640 * 120 * 8;
constexpr std::size_t kSend = granules(kFlags);
constexpr std::size_t kReceive = granules(kFlags + kSimple + kLL + kLL128);
static_assert(kSend == 2 * kMiB && kReceive == 10 * kMiB);

// Twelve rings over the links of an sm_90 and its switch, twice: a block of a collective each.
constexpr int kChannels = 24;

// Peers that NVLink reaches on a host of eight; those on other hosts share one buffer.
constexpr std::size_t kMostPeers = 7;

}  // namespace

std::size_t nccl_buffer_bytes(const Links& links, int most_blocks) {
  const int channels = most_blocks > 0 ? std::min(most_blocks, kChannels) : kChannels;
  const std::size_t ring = links.ring ? kSend + kReceive : 0;
  const std::size_t exchange = std::min(links.sends.size(), kMostPeers) * kSend +
                               std::min(links.receives.size(), kMostPeers) * kReceive;
  return static_cast<std::size_t>(channels) * ring +
         std::bit_ceil(static_cast<unsigned>(channels)) * exchange;
}

}  // namespace strait::parallel
