#include "config/compare.h"

#include <algorithm>

#include "config/schema.h"

namespace strait::config {
namespace {

bool covers(std::string_view path, std::string_view key) {
  return key == path || (key.starts_with(path) && key[path.size()] == '.');
}

}  // namespace

std::vector<Difference> differences(const Config& before, const Config& now,
                                    std::span<const std::string_view> paths) {
  std::vector<Difference> out;
  for (const Key& key : schema()) {
    const auto relevant = [&](std::string_view path) { return covers(path, key.path); };
    if (std::ranges::none_of(paths, relevant)) continue;
    const Value old_value = key.get(before), new_value = key.get(now);
    if (old_value != new_value) out.push_back({key.path, show(old_value), show(new_value)});
  }
  return out;
}

}  // namespace strait::config
