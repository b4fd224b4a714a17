#pragma once

#include "parallel/mesh.h"
#include "train/plan.h"

namespace strait::train {

/// Memory of a device that several ranks share.
struct MemoryLimit {
  std::string where;          // "this machine", "NVIDIA H100 80GB HBM3"
  std::size_t available = 0;  // bytes; 0: not known
  int ranks = 1;              // that share it
};

/// Throws InputError with bytes by category when the ranks' plans do not fit, and with what other
/// settings of memory would take and whether they fit.
void require_memory(const StepPlan& plan, const MemoryLimit& limit, const config::Config& config,
                    const parallel::Mesh& mesh, parallel::Groups& groups);

}  // namespace strait::train
