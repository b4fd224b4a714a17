#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "core/error.h"
#include "core/files.h"
#include "io/json_text.h"

namespace strait::io {

/// Typed access to the config.json of a Hugging Face folder. A key that is absent or null takes the
/// default, if there is one. Throws InputError that names file, key and value.
class HfConfig {
 public:
  using json = nlohmann::json;
  static constexpr std::int64_t kMaxSize = std::numeric_limits<std::int32_t>::max();

  explicit HfConfig(const std::filesystem::path& path)
      : origin_(path.string()), root_(parse_json(core::read_file(path), origin_)) {
    if (!root_.is_object()) throw core::InputError(origin_ + ": expected a JSON object");
  }
  /// A nested object; its keys are reported under `key`.
  HfConfig(const HfConfig& outer, const std::string& key)
      : origin_(outer.origin_), prefix_(outer.prefix_ + key + "."), root_(outer.root_.at(key)) {
    if (!root_.is_object()) outer.refuse(key, "expected an object");
  }

  bool has(const std::string& key) const {
    const auto found = root_.find(key);
    return found != root_.end() && !found->is_null();
  }
  const json& at(const std::string& key) const { return root_.at(key); }

  std::int64_t integer(const std::string& key, std::int64_t low, std::int64_t high,
                       std::optional<std::int64_t> fallback = {}) const {
    if (!present(key, fallback.has_value())) return *fallback;
    const json& value = root_.at(key);
    const bool fits = value.is_number_integer() && value >= low && value <= high;
    if (!fits) {
      refuse(key,
             "expected an integer from " + std::to_string(low) + " to " + std::to_string(high));
    }
    return value.get<std::int64_t>();
  }
  std::int64_t size(const std::string& key, std::optional<std::int64_t> fallback = {}) const {
    return integer(key, 1, kMaxSize, fallback);
  }

  double positive(const std::string& key, std::optional<double> fallback = {}) const {
    if (!present(key, fallback.has_value())) return *fallback;
    const json& value = root_.at(key);
    if (!value.is_number() || !(value.get<double>() > 0)) refuse(key, "expected a positive number");
    return value.get<double>();
  }

  bool boolean(const std::string& key, bool fallback) const {
    if (!has(key)) return fallback;
    if (!root_.at(key).is_boolean()) refuse(key, "expected true or false");
    return root_.at(key).get<bool>();
  }

  /// Absent, null or exactly `value`; everything else is refused for the given reason.
  void only(const std::string& key, const json& value, const std::string& why) const {
    if (has(key) && root_.at(key) != value) refuse(key, why);
  }

  [[noreturn]] void refuse(const std::string& key, const std::string& why) const {
    const std::string got =
        root_.contains(key)
            ? printable(root_.at(key).dump(-1, ' ', true, json::error_handler_t::replace))
            : "absent";
    throw core::InputError(origin_ + ": " + prefix_ + key + " is " + got + ": " + why);
  }

 private:
  bool present(const std::string& key, bool optional) const {
    if (has(key)) return true;
    if (!optional) refuse(key, "this key is required");
    return false;
  }

  std::string origin_;
  std::string prefix_;
  json root_;
};

}  // namespace strait::io
