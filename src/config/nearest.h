#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace strait::config {

/// Insertions, deletions, substitutions and swaps of neighbours that turn `a` into `b`.
std::size_t edit_distance(std::string_view a, std::string_view b);

/// The candidate with the smallest edit distance, the first of equals. `candidates` is not empty.
std::string_view nearest_word(std::string_view word, std::span<const std::string_view> candidates);

/// The key or section that a mistyped or misplaced path most likely meant: either the whole path
/// is close, or its last part is close to the last part of one in another section, or is that one
/// with words left out or added.
std::string nearest_path(std::string_view path);

}  // namespace strait::config
