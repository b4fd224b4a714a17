#include "config/read_json.h"

#include <nlohmann/json.hpp>
#include <set>
#include <vector>

#include "config/reject.h"
#include "config/schema.h"

namespace strait::config {
namespace {

using nlohmann::json;

/// Follows the parser's events to know the path of each key and which keys an object already has.
class JsonGuard {
 public:
  explicit JsonGuard(const std::string& origin) : origin_(origin) {}

  void see(json::parse_event_t event, const json& parsed) {
    switch (event) {
      case json::parse_event_t::object_start:
      case json::parse_event_t::array_start:
        enter();
        break;
      case json::parse_event_t::object_end:
      case json::parse_event_t::array_end:
        levels_.pop_back();
        break;
      case json::parse_event_t::key:
        add_key(parsed.get_ref<const std::string&>());
        break;
      case json::parse_event_t::value:
        break;
    }
  }

 private:
  struct Level {
    std::set<std::string> keys;
    std::string current;
  };

  void enter() {
    if (levels_.size() == kMaxJsonDepth) {
      reject(origin_, "nested deeper than " + std::to_string(kMaxJsonDepth) +
                          " levels; a config has at most 4");
    }
    levels_.emplace_back();
  }

  void add_key(const std::string& key) {
    Level& level = levels_.back();
    level.current = key;
    if (level.keys.insert(key).second) return;
    std::string path;
    for (const Level& outer : levels_) path += (path.empty() ? "" : ".") + outer.current;
    reject(origin_, printable(path) + ": given twice; keep one of the two");
  }

  const std::string& origin_;
  std::vector<Level> levels_;
};

/// "[json.exception.parse_error.101] parse error at line 3, column 5: ..." without its prefixes.
std::string reason_of(const json::exception& error) {
  std::string what = error.what();
  if (const auto bracket = what.find("] "); bracket != std::string::npos) {
    what.erase(0, bracket + 2);
  }
  std::string reason;
  for (std::size_t at = 0; at < what.size() && at < 240; at += 60) {
    reason += printable(std::string_view(what).substr(at, 60));
  }
  return reason;
}

}  // namespace

nlohmann::json read_json(const std::string& text, const std::string& origin) {
  if (text.size() > kMaxJsonBytes) {
    reject(origin, "is " + std::to_string(text.size()) + " bytes; a config has at most " +
                       std::to_string(kMaxJsonBytes));
  }
  if (text.find_first_not_of(" \t\r\n") == std::string::npos) {
    reject(origin, "is empty; expected a JSON object such as {\"extends\": \"quickstart\"}");
  }
  JsonGuard guard(origin);
  try {
    return json::parse(text, [&](int, json::parse_event_t event, json& parsed) {
      guard.see(event, parsed);
      return true;
    });
  } catch (const json::exception& error) {
    reject(origin, "not valid JSON: " + reason_of(error) +
                       "; comments, trailing commas and NaN are no JSON");
  }
}

}  // namespace strait::config
