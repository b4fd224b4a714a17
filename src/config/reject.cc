#include "config/reject.h"

#include "core/error.h"

namespace strait::config {

void reject(const std::string& origin, const std::string& message) {
  throw core::InputError(origin + ": " + message);
}

void reject(const std::string& origin, std::string_view path, const std::string& value,
            const std::string& message) {
  reject(origin, std::string(path) + " = " + value + ": " + message);
}

}  // namespace strait::config
