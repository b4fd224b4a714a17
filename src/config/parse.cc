#include "config/parse.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "config/nearest.h"
#include "config/read_json.h"
#include "config/reject.h"
#include "config/schema.h"

namespace strait::config {
namespace {

using nlohmann::json;

constexpr const char* kExtends = "extends";

std::string show_json(const json& value) {
  return printable(value.dump(-1, ' ', true, json::error_handler_t::replace));
}

/// A whole number, also when written as 1e6 or 4.0; nothing if it is none or does not fit.
std::optional<Value> whole_number(const json& value) {
  constexpr double kExact = 9007199254740992.0;  // 2^53: every integer up to here is a double
  if (value.is_number_unsigned()) {
    const auto number = value.get<std::uint64_t>();
    if (number > static_cast<std::uint64_t>(INT64_MAX)) return std::nullopt;
    return Value(static_cast<std::int64_t>(number));
  }
  if (value.is_number_integer()) return Value(value.get<std::int64_t>());
  if (!value.is_number_float()) return std::nullopt;
  const double number = value.get<double>();
  if (std::floor(number) != number || std::abs(number) > kExact) return std::nullopt;
  return Value(static_cast<std::int64_t>(number));
}

/// What a document is read into.
struct Target {
  Config& config;
  const std::string& origin;           // of the document, for messages
  std::vector<std::string> keys = {};  // that were set
};

/// The value as the key's type, or nothing when it is of another one.
std::optional<Value> convert(const Key& key, const json& value) {
  switch (key.type) {
    case Type::integer:
      return whole_number(value);
    case Type::real:
      if (value.is_number()) return Value(value.get<double>());
      break;
    case Type::boolean:
      if (value.is_boolean()) return Value(value.get<bool>());
      break;
    case Type::text:
    case Type::word:
      if (value.is_string()) return Value(value.get<std::string>());
      break;
  }
  return std::nullopt;
}

void set_word(Target& target, const Key& key, const std::string& text) {
  for (std::string_view word : key.words) {
    if (word == text) return key.set(target.config, text);
  }
  reject(
      target.origin, key.path, show(text),
      "expected " + expected(key) + "; nearest is " + std::string(nearest_word(text, key.words)));
}

void set_key(Target& target, const Key& key, const json& value) {
  target.keys.push_back(key.path);
  const std::optional<Value> converted = convert(key, value);
  if (!converted) {
    const bool is_near = key.type == Type::integer && value.is_number();
    reject(target.origin, key.path, show_json(value),
           "expected " + expected(key) + " (" + std::string(key.meaning) + "); got " +
               (is_near ? "another number" : value.type_name()));
  }
  if (key.type == Type::word) {
    return set_word(target, key, std::get<std::string>(*converted));
  }
  if (key.type == Type::text && std::get<std::string>(*converted).find('\0') != std::string::npos) {
    reject(target.origin, key.path, show(*converted),
           "text may not hold a NUL character; remove it");
  }
  if (!accepts(key, *converted)) {
    reject(target.origin, key.path, show(*converted),
           "out of range; expected " + expected(key) + " (" + std::string(key.meaning) + ")");
  }
  key.set(target.config, *converted);
}

[[noreturn]] void reject_unknown(const std::string& path, const std::string& origin) {
  reject(origin, printable(path) + ": unknown key; nearest is " + nearest_path(path) +
                     " (--help-config lists all keys)");
}

bool is_section(const std::string& path) {
  for (const std::string& section : sections()) {
    if (section == path) return true;
  }
  return false;
}

void set_path(Target& target, const std::string& path, const json& value);

void set_section(Target& target, const std::string& section, const json& object) {
  if (!object.is_object()) {
    reject(target.origin, section.empty() ? "the whole" : section, show_json(object),
           "expected an object of keys, such as {\"train\": {\"steps\": 100}}; got " +
               std::string(object.type_name()));
  }
  const std::string prefix = section.empty() ? "" : section + ".";
  for (const auto& [name, value] : object.items()) {
    if (section.empty() && name == kExtends) continue;
    const std::string path = prefix + name;
    if (name.find('.') != std::string::npos) {
      reject(target.origin, printable(path) +
                                ": unknown key; write each part as an object of its own; "
                                "nearest is " +
                                nearest_path(path));
    }
    set_path(target, path, value);
  }
}

void set_path(Target& target, const std::string& path, const json& value) {
  if (const Key* key = find_key(path)) return set_key(target, *key, value);
  if (is_section(path)) return set_section(target, path, value);
  reject_unknown(path, target.origin);
}

/// What "extends" names; nothing when the document has none.
std::optional<std::string> base_of(const json& document, const std::string& origin) {
  if (!document.is_object() || !document.contains(kExtends)) return std::nullopt;
  const json& name = document.at(kExtends);
  if (!name.is_string() || name.get<std::string>().empty()) {
    reject(origin, kExtends, show_json(name),
           "expected the name of one config, such as \"quickstart\"");
  }
  return name.get<std::string>();
}

json override_value(const std::string& path, const std::string& text, const std::string& origin) {
  const Key* key = find_key(path);
  const bool takes_text = key != nullptr && key->type == Type::text;
  const bool is_structure = !text.empty() && (text.front() == '{' || text.front() == '[');
  if (is_structure && !takes_text) return read_json(text, origin);
  json value = json::parse(text, nullptr, false);
  if (value.is_discarded() || (takes_text && !value.is_string())) value = text;
  return value;
}

}  // namespace

void parse_into(Config& config, const Text& text, const FindBase& find_base, Origins* origins) {
  const json document = read_json(text.json, text.origin);
  if (const auto name = base_of(document, text.origin)) {
    const Text base = find_base(*name, text.origin);
    const json base_document = read_json(base.json, base.origin);
    if (const auto nested = base_of(base_document, base.origin)) {
      reject(base.origin, kExtends, show(*nested),
             "is itself the base of " + text.origin +
                 "; only one level is allowed: extend that one, or copy its keys");
    }
    Target target{config, base.origin};
    set_section(target, "", base_document);
    if (origins) origins->set(target.keys, base.origin);
  }
  Target target{config, text.origin};
  set_section(target, "", document);
  if (origins) origins->set(target.keys, text.origin);
}

std::string origin_of_override(const std::string& assignment) {
  return "--set " + printable(assignment);
}

std::vector<std::string> parse_override(Config& config, const std::string& assignment) {
  const std::string origin = origin_of_override(assignment);
  const auto equals = assignment.find('=');
  if (equals == std::string::npos || equals == 0) {
    reject(origin, "expected section.key=value, such as --set train.steps=100");
  }
  const std::string path = assignment.substr(0, equals);
  if (path == kExtends) {
    reject(origin, "only a file extends another; name that one with --config instead");
  }
  const json value = override_value(path, assignment.substr(equals + 1), origin);
  try {
    static_cast<void>(value.dump());
  } catch (const json::exception&) {
    reject(origin, printable(path) + ": value is not valid UTF-8; write it in UTF-8");
  }
  Target target{config, origin};
  set_path(target, path, value);
  return std::move(target.keys);
}

}  // namespace strait::config
