#pragma once

#include <memory>

#include "parallel/communicator.h"

namespace strait::parallel {

/// Whether this build knows NCCL and this machine has its library (libnccl.so.2).
bool nccl_available();

/// A group whose CUDA tensors move between GPUs by NCCL; texts and host memory go on through
/// `host`, which it takes over. Every rank computes on a GPU of its own (the current one). Sums are
/// in NCCL's order, the same from run to run on one topology. Collective; throws RuntimeFault with
/// NCCL's words when it fails.
std::unique_ptr<Communicator> make_nccl(std::unique_ptr<Communicator> host);

}  // namespace strait::parallel
