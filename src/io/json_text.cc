#include "io/json_text.h"

#include <nlohmann/json.hpp>
#include <set>
#include <vector>

#include "core/error.h"

namespace strait::io {
namespace {

constexpr int kMaxDepth = 16;
constexpr std::size_t kMaxQuoted = 80;

}  // namespace

std::string printable(std::string_view text) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string out = "'";
  for (const char c : text.substr(0, kMaxQuoted)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte != 0x7f) {
      out += c;
    } else {
      out += std::string("\\x") + kHex[byte >> 4] + kHex[byte & 15];
    }
  }
  if (text.size() > kMaxQuoted) out += "... (" + std::to_string(text.size()) + " bytes)";
  return out + "'";
}

nlohmann::json parse_json(std::string_view text, const std::string& origin) {
  using Event = nlohmann::json::parse_event_t;
  std::vector<std::set<std::string>> keys;
  const auto watch = [&](int depth, Event event, nlohmann::json& value) {
    if (depth > kMaxDepth) {
      throw core::InputError(origin + ": nested deeper than " + std::to_string(kMaxDepth) +
                             " levels");
    }
    if (event == Event::object_start) keys.emplace_back();
    if (event == Event::object_end) keys.pop_back();
    if (event == Event::key && !keys.back().insert(value.get<std::string>()).second) {
      throw core::InputError(origin + ": key " + printable(value.get<std::string>()) +
                             " is given twice; keep one");
    }
    return true;
  };
  if (text.find('\0') != text.npos) {  // which the parser would take for the end
    throw core::InputError(origin + ": not valid JSON, it contains a zero byte");
  }
  try {
    return nlohmann::json::parse(text, watch);
  } catch (const nlohmann::json::parse_error& error) {
    throw core::InputError(origin + ": not valid JSON at byte " + std::to_string(error.byte) +
                           "; check that the file is complete");
  } catch (const nlohmann::json::out_of_range&) {
    throw core::InputError(origin + ": not valid JSON, it contains a number beyond 1.8e308");
  }
}

}  // namespace strait::io
