#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace strait::ablate {

/// Names of the GPUs that processes of this one may use: those of CUDA_VISIBLE_DEVICES if it is
/// set, else one for each device file of the driver. Empty: none.
std::vector<std::string> visible_gpus();

/// Cores that this process may use.
std::int64_t usable_cores();

/// A file beside the running program, such as `train`; just its name when that is not known.
std::string beside_this_program(const std::string& name);

}  // namespace strait::ablate
