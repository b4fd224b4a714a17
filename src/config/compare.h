#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.h"

namespace strait::config {

/// A key whose value differs between two configs.
struct Difference {
  std::string path;
  std::string before;
  std::string now;
};

/// Differences among the keys that are, or lie below, one of `paths`; in schema order.
std::vector<Difference> differences(const Config& before, const Config& now,
                                    std::span<const std::string_view> paths);

}  // namespace strait::config
