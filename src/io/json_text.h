#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

// JSON as this folder reads it: text from outside is hostile until parsed.
namespace strait::io {

/// A name or value from a file, fit for a message: at most 80 characters, control bytes escaped.
std::string printable(std::string_view text);

/// Parses `text`; `origin` names it in messages. Throws InputError on bad syntax, on a number that
/// no double holds, on a key given twice in one object and on more than 16 levels of nesting.
nlohmann::json parse_json(std::string_view text, const std::string& origin);

}  // namespace strait::io
