#pragma once

#include <algorithm>
#include <string>
#include <type_traits>
#include <utility>

#include "config/schema.h"
#include "config/words.h"

// How rows of the key table are made; only schema*.cc include this.
namespace strait::config {

struct About {
  std::string_view unit;
  std::string_view meaning;
  Range range = {};
  bool required = false;
};

constexpr Range between(double low, double high) {
  return {.low = low, .high = high};
}
constexpr Range above(double low, double high) {
  return {.low = low, .high = high, .low_open = true};
}
constexpr Range below(double low, double high) {
  return {.low = low, .high = high, .high_open = true};
}

// Sizes stay far below what 64-bit products of a few of them could overflow.
inline constexpr double kMaxSize = 1 << 24;
inline constexpr double kMaxCount = 1e12;

/// A row bound to the member that the chain of member pointers reaches from Config.
template <auto... members>
Key make_key(std::string path, const About& about) {
  using Member = std::remove_reference_t<decltype((std::declval<Config&>().*....*members))>;
  Key key{.path = std::move(path),
          .unit = about.unit,
          .meaning = about.meaning,
          .range = about.range,
          .required = about.required};
  if constexpr (std::is_enum_v<Member>) {
    const auto& list = Words<Member>::kList;
    key.type = Type::word;
    key.words = list;
    key.get = [](const Config& c) -> Value { return std::string(word((c.*....*members))); };
    key.set = [](Config& c, const Value& value) {
      const auto& words = Words<Member>::kList;
      const auto at = std::find(words.begin(), words.end(), std::get<std::string>(value));
      (c.*....*members) = static_cast<Member>(at - words.begin());
    };
  } else {
    key.type = std::is_same_v<Member, bool>          ? Type::boolean
               : std::is_same_v<Member, std::string> ? Type::text
               : std::is_same_v<Member, double>      ? Type::real
                                                     : Type::integer;
    key.get = [](const Config& c) -> Value { return (c.*....*members); };
    key.set = [](Config& c, const Value& value) { (c.*....*members) = std::get<Member>(value); };
  }
  return key;
}

// Rows of Config.run, of Config.model and of the sections after it.
void append_run_keys(std::vector<Key>& keys);
void append_model_keys(std::vector<Key>& keys);
void append_training_keys(std::vector<Key>& keys);

}  // namespace strait::config
