#pragma once

#include <cstdint>
#include <string>
#include <string_view>

// What tasks need of Python's str, for UTF-8.
namespace strait::input {

/// len(text): code points.
std::int64_t code_points(std::string_view text);

/// Bytes at the end that rstrip() takes away.
std::size_t trailing_blanks(std::string_view text);

/// strip(): no blanks at either end.
std::string strip(std::string_view text);

/// capitalize(): the first letter upper case, the others lower case, where that is one code point.
std::string capitalize(std::string_view text);

/// replace(from, to), from left to right.
std::string replace_all(std::string text, std::string_view from, std::string_view to);

}  // namespace strait::input
