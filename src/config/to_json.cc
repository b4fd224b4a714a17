#include <nlohmann/json.hpp>
#include <sstream>

#include "config/load.h"
#include "config/schema.h"

namespace strait::config {
namespace {

using nlohmann::ordered_json;

void put(ordered_json& document, const Key& key, const Value& value) {
  ordered_json* at = &document;
  std::istringstream parts(key.path);
  for (std::string part; std::getline(parts, part, '.');) at = &(*at)[part];
  std::visit([&](const auto& plain) { *at = plain; }, value);
}

}  // namespace

std::string to_json(const Config& config) {
  ordered_json document;
  for (const Key& key : schema()) put(document, key, key.get(config));
  return document.dump(2) + "\n";
}

}  // namespace strait::config
