#pragma once

#include <string>

namespace strait::core {

/// Name of this machine, "unknown" where the system does not say.
std::string host_name();

}  // namespace strait::core
