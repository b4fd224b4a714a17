#pragma once

#include <memory>
#include <string>

#include "parallel/communicator.h"

namespace strait::parallel {

/// Version of this machine's NCCL library (libnccl.so.2); empty where that or this build lacks it.
std::string nccl_version();

/// A group whose CUDA tensors move between GPUs by NCCL; texts and host memory go on through
/// `host`, which it takes over. Every rank computes on a GPU of its own (the current one). Sums are
/// in NCCL's order, the same from run to run on one topology; those of bf16 may be rounded at every
/// rank that adds its term. Collective; throws RuntimeFault with NCCL's words when it fails. Graphs
/// that captured its collectives must go before it does.
/// `most_blocks`: thread blocks of a collective at most; 0: as NCCL sees fit.
std::unique_ptr<Communicator> make_nccl(std::unique_ptr<Communicator> host, int most_blocks = 0);

}  // namespace strait::parallel
