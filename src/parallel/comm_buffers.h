#pragma once

#include <cstddef>
#include <set>

namespace strait::parallel {

/// Whom a group's collectives of device memory tie this rank to, as a plan saw them.
struct Links {
  bool ring = false;                        // to its neighbours: collectives of all ranks
  std::set<int> sends = {}, receives = {};  // to the peers of exchanges
};

/// Bytes of device memory that NCCL takes for one group when its collectives first run.
/// `most_blocks` as in comm_nccl.h. For ranks of one host of up to eight GPUs that NVLink ties
/// together (sm_90), with NCCL's own settings and NVLink multicast off; what network adapters need
/// comes on top. Source: NCCL 2.28, transport/p2p.cc (buffers of a connection), graph/paths.cc
/// (channels of exchanges); its issue 1685 counts them on eight H100.
/// tests/bench/results/2026-11-26-h200-multi-gpu.md holds this against measurements.
std::size_t nccl_buffer_bytes(const Links& links, int most_blocks);

/// What NCCL takes once beside them: what was measured, less the buffers.
inline constexpr std::size_t kNcclBytes = std::size_t{230} << 20;

}  // namespace strait::parallel
