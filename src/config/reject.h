#pragma once

#include <string>
#include <string_view>

namespace strait::config {

/// Throws InputError "origin: message".
[[noreturn]] void reject(const std::string& origin, const std::string& message);

/// Throws InputError "origin: path = value: message"; `value` as show() gives it.
[[noreturn]] void reject(const std::string& origin, std::string_view path, const std::string& value,
                         const std::string& message);

}  // namespace strait::config
