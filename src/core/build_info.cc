#include "core/build_info.h"

#include "strait_revision.h"

namespace strait::core {

std::string revision() {
  return STRAIT_REVISION;
}

std::string build_flags() {
  return STRAIT_BUILD_FLAGS;
}

}  // namespace strait::core
