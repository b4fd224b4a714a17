#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "config/config.h"

// The table of keys: parsing, writing, help and range checks all walk it. A key's default is
// whatever the struct's initialiser says, read through `get`.
namespace strait::config {

enum class Type { integer, real, boolean, text, word };

/// A key's value; enums travel as their word.
using Value = std::variant<std::int64_t, double, bool, std::string>;

/// Allowed numbers, ends included unless open.
struct Range {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
  bool low_open = false;
  bool high_open = false;
};

struct Key {
  std::string path;  // dotted, e.g. "model.attention.kind"
  Type type = Type::text;
  std::string_view unit;  // of numbers
  std::string_view meaning;
  Range range;
  bool required = false;                         // the default only says "not given"
  std::span<const std::string_view> words = {};  // allowed values of an enum
  Value (*get)(const Config&) = nullptr;
  void (*set)(Config&, const Value&) = nullptr;  // the value is of the key's type and, if a word,
                                                 // one of `words`
};

/// Every key, sections in the order of Config.
const std::vector<Key>& schema();

/// Null when there is no such key. `key_at` is for paths written in code: throws std::logic_error.
const Key* find_key(std::string_view path);
const Key& key_at(std::string_view path);

/// Paths of the objects that hold keys: "run", "model", "model.attention", ...
const std::vector<std::string>& sections();

Value default_of(const Key& key);

/// The default of every key is accepted: for required keys it means "not given".
bool accepts(const Key& key, const Value& value);

/// What a key takes: "integer >= 1", "number > 0 and < 1", "one of exp, linear".
std::string expected(const Key& key);

/// A value as in messages: text in quotes, shortened and printable.
std::string show(const Value& value);

/// Printable ASCII of at most 60 characters; whatever else is in `text` becomes '?'.
std::string printable(std::string_view text);

}  // namespace strait::config
