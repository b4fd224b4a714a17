#include "config/schema.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <stdexcept>

#include "config/schema_key.h"

namespace strait::config {
namespace {

std::vector<Key> all_keys() {
  std::vector<Key> keys;
  append_run_keys(keys);
  append_model_keys(keys);
  append_training_keys(keys);
  return keys;
}

std::vector<std::string> all_sections() {
  std::vector<std::string> found;
  for (const Key& key : schema()) {
    for (auto dot = key.path.find('.'); dot != std::string::npos;
         dot = key.path.find('.', dot + 1)) {
      std::string section = key.path.substr(0, dot);
      if (std::find(found.begin(), found.end(), section) == found.end()) {
        found.push_back(std::move(section));
      }
    }
  }
  return found;
}

template <class Number>
std::string digits(Number number) {
  std::array<char, 32> text{};
  const auto end = std::to_chars(text.data(), text.data() + text.size(), number);
  return {text.data(), end.ptr};
}

std::string digits_of_bound(double bound) {
  const auto whole = static_cast<std::int64_t>(bound);
  return static_cast<double>(whole) == bound ? digits(whole) : digits(bound);
}

std::string range_text(const Range& range) {
  const std::string low = (range.low_open ? " > " : " >= ") + digits_of_bound(range.low);
  return low + (range.high_open ? " and < " : " and <= ") + digits_of_bound(range.high);
}

bool inside(const Range& range, double number) {
  const bool above_low = range.low_open ? number > range.low : number >= range.low;
  const bool below_high = range.high_open ? number < range.high : number <= range.high;
  return above_low && below_high;  // false for NaN
}

}  // namespace

const std::vector<Key>& schema() {
  static const std::vector<Key> kKeys = all_keys();
  return kKeys;
}

const Key* find_key(std::string_view path) {
  for (const Key& key : schema()) {
    if (key.path == path) return &key;
  }
  return nullptr;
}

const Key& key_at(std::string_view path) {
  if (const Key* key = find_key(path)) return *key;
  throw std::logic_error("no such key in the table: " + std::string(path));
}

const std::vector<std::string>& sections() {
  static const std::vector<std::string> kPaths = all_sections();
  return kPaths;
}

Value default_of(const Key& key) {
  return key.get(Config{});
}

bool accepts(const Key& key, const Value& value) {
  if (value == default_of(key)) return true;
  if (const auto* number = std::get_if<std::int64_t>(&value)) {
    return inside(key.range, static_cast<double>(*number));
  }
  if (const auto* number = std::get_if<double>(&value)) return inside(key.range, *number);
  return true;
}

std::string expected(const Key& key) {
  switch (key.type) {
    case Type::integer:
      return "integer" + range_text(key.range);
    case Type::real:
      return "number" + range_text(key.range);
    case Type::boolean:
      return "true or false";
    case Type::text:
      return "text";
    case Type::word:
      break;
  }
  std::string list = "one of";
  for (std::string_view word : key.words) {
    list += word == key.words.front() ? " " : ", ";
    list += word;
  }
  return list;
}

std::string show(const Value& value) {
  if (const auto* number = std::get_if<std::int64_t>(&value)) return digits(*number);
  if (const auto* number = std::get_if<double>(&value)) return digits(*number);
  if (const auto* yes = std::get_if<bool>(&value)) return *yes ? "true" : "false";
  return '"' + printable(std::get<std::string>(value)) + '"';
}

std::string printable(std::string_view text) {
  // Of a long text both ends: a path has its name at the end.
  constexpr std::size_t kHead = 80, kTail = 60;
  std::string shown(text);
  if (text.size() > kHead + kTail) {
    shown = std::string(text.substr(0, kHead)) + "...";
    shown += text.substr(text.size() - kTail);
  }
  for (char& c : shown) {
    if (c < ' ' || c > '~') c = '?';
  }
  return shown;
}

}  // namespace strait::config
