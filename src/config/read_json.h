#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace strait::config {

/// Configs are small: what is larger or deeper than this is no config.
inline constexpr std::size_t kMaxJsonBytes = 1 << 20;
inline constexpr std::size_t kMaxJsonDepth = 32;

/// Strict JSON (RFC 8259; a UTF-8 byte order mark is skipped). Comments, trailing commas, repeated
/// keys, numbers beyond double and invalid UTF-8 are InputErrors that name line and column, or the
/// path of the repeated key. Deep nesting is refused before it is built.
nlohmann::json read_json(const std::string& text, const std::string& origin);

}  // namespace strait::config
