#pragma once

#include <functional>
#include <string>
#include <vector>

#include "config/config.h"
#include "config/origins.h"

namespace strait::config {

/// JSON text and the name it goes by in messages, usually a path.
struct Text {
  std::string json;
  std::string origin;
};

/// Finds the text that "extends" names, seen from the file that says so.
using FindBase = std::function<Text(const std::string& name, const std::string& origin)>;

/// Sets the members of `config` that the text names; first those of its "extends" base, if any.
/// Tells `origins`, if given, which of the two a key comes from. Throws InputError on anything but
/// known keys with values of their type and range.
void parse_into(Config& config, const Text& text, const FindBase& find_base,
                Origins* origins = nullptr);

/// The same for one override "a.b=c": c is JSON if it reads as such, else text. A key that takes
/// text takes c as it stands unless c is a JSON string. Returns the paths of the keys it sets.
std::vector<std::string> parse_override(Config& config, const std::string& assignment);

/// "--set a.b=c", as messages name an override.
std::string origin_of_override(const std::string& assignment);

}  // namespace strait::config
