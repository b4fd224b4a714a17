#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config/json_tree.h"
#include "config/words.h"

namespace strait::ablate {

/// The members of an object of a sweep file, read strictly: the constructor refuses what is no
/// object and any member that is not `known`, naming its path and the nearest known one. Every
/// refusal is an InputError "origin: path = value: expectation".
class Fields {
 public:
  Fields(const config::JsonTree& object, std::string path, std::string origin,
         const std::vector<std::string_view>& known);

  bool has(std::string_view name) const { return object_.find(name) != nullptr; }
  /// Refuses when it is missing; `meaning` says what it would hold.
  const config::JsonTree& required(std::string_view name, const std::string& meaning) const;

  // The member's value, or `otherwise` when it is not there.
  std::string text(std::string_view name, const std::string& otherwise = {}) const;
  bool boolean(std::string_view name, bool otherwise) const;
  /// At least `low`, or above it when `open`.
  double number(std::string_view name, double otherwise, double low, bool open = false) const;
  std::vector<std::string> texts(std::string_view name) const;
  /// Of an enum with words (config/words.h).
  template <class Enum>
  Enum word(std::string_view name, Enum otherwise) const {
    return static_cast<Enum>(
        index_of(name, config::Words<Enum>::kList, static_cast<std::size_t>(otherwise)));
  }

  const config::JsonTree& object() const { return object_; }
  const std::string& origin() const { return origin_; }
  std::string path_of(std::string_view name) const;
  [[noreturn]] void refuse(std::string_view name, const std::string& expectation) const;

 private:
  /// Position in `words` of the member's text.
  std::size_t index_of(std::string_view name, std::span<const std::string_view> words,
                       std::size_t otherwise) const;

  const config::JsonTree& object_;
  std::string path_;
  std::string origin_;
};

/// A whole number from `low` on, below 2^53; nothing when the value is another.
std::optional<std::int64_t> whole(const config::JsonTree& value, std::int64_t low);

/// A name that is also a folder's: [a-z0-9_.-]+, not beginning with a dot.
bool is_name(std::string_view text);

}  // namespace strait::ablate
