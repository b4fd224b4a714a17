#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace strait::config {

/// A mesh by its name, "dp2tp2": factors in any order, those left out are 1. "ep2" alone means dp 2
/// with ep 2.
struct Layout {
  std::string name;
  std::int64_t dp = 1, cp = 1, tp = 1, ep = 1;
  bool ring = false;  // ".ring" behind the name: keys go round instead of being gathered
  std::int64_t ranks() const { return dp * cp * tp; }
  /// The sizes of its axes as --set takes them.
  std::vector<std::string> overrides() const;
};

/// Throws InputError with what was wrong and an example.
Layout parse_layout(const std::string& name);

}  // namespace strait::config
