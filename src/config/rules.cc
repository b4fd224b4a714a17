#include "config/rules.h"

#include "config/reject.h"
#include "config/schema.h"

namespace strait::config {

void Rules::fail(std::string_view path, const std::string& message) const {
  reject(origins_.of(path), path, show(key_at(path).get(config_)), message);
}

void Rules::expect_unused(std::string_view section, std::string_view cause) const {
  const std::string prefix = std::string(section) + ".";
  for (const Key& key : schema()) {
    if (!key.path.starts_with(prefix) || key.get(config_) == default_of(key)) continue;
    fail(key.path, "has no effect with " + quote(cause) + "; leave it out, set it to its default " +
                       show(default_of(key)) + ", or change " + std::string(cause));
  }
}

std::string Rules::quote(std::string_view path) const {
  const Value value = key_at(path).get(config_);
  const auto* text = std::get_if<std::string>(&value);
  const bool is_word = key_at(path).type == Type::word;
  const std::string& origin = origins_.of(path);
  const std::string option = origin.starts_with("--") ? origin.substr(0, origin.find(' ')) : "";
  return std::string(path) + " = " + (is_word ? *text : show(value)) +
         (option.empty() ? "" : " (" + option + ")");
}

bool awaits_import(const Config& config) {
  const Model& model = config.model;
  return !config.init.from.empty() && model.d_model == 0 && model.n_layers == 0 &&
         model.attention.n_heads == 0;
}

std::string multiples_near(std::int64_t number, std::int64_t step) {
  const std::int64_t below = number / step * step;
  const std::string above = std::to_string(below + step);
  return below == 0 ? above : std::to_string(below) + " or " + above;
}

}  // namespace strait::config
