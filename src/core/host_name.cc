#include "core/host_name.h"

#include <unistd.h>

namespace strait::core {

std::string host_name() {
  char name[256] = "";  // one byte more than is ever written stays zero
  return ::gethostname(name, sizeof name - 1) == 0 ? name : "unknown";
}

}  // namespace strait::core
