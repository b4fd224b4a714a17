#pragma once

#include <string>

namespace strait::core {

/// Revision of the source tree that this program was built from, "-dirty" when it had changes.
std::string revision();
/// Compiler, build type and options.
std::string build_flags();

}  // namespace strait::core
