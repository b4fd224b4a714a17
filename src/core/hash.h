#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

// Hashes that tell whether a file is what was written (XXH3, 64 bits).
namespace strait::io {

std::uint64_t hash_of(std::span<const std::byte> bytes);
std::uint64_t hash_of(std::string_view text);

/// 16 hexadecimal digits.
std::string hash_text(std::uint64_t hash);

}  // namespace strait::io
