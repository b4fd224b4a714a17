#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

// The keys that queries of attention see, for its tests on both backends.
namespace strait::kernels::test {

/// First key of each query and the one behind its last.
struct Spans {
  std::vector<std::int32_t> begin, end;
  std::int64_t keys = 0;
};

/// Packed documents, each causal (at most `window` keys back, itself included; 0: no window).
inline Spans causal(const std::vector<std::int64_t>& documents, std::int64_t window = 0) {
  Spans s;
  for (std::int64_t length : documents) {
    for (std::int64_t i = 0; i < length; ++i) {
      const std::int64_t first = window > 0 ? std::max<std::int64_t>(0, i + 1 - window) : 0;
      s.begin.push_back(static_cast<std::int32_t>(s.keys + first));
      s.end.push_back(static_cast<std::int32_t>(s.keys + i + 1));
    }
    s.keys += length;
  }
  return s;
}

inline Spans full(std::int64_t tokens, std::int64_t keys) {
  const auto n = static_cast<std::size_t>(tokens);
  return {std::vector<std::int32_t>(n, 0),
          std::vector<std::int32_t>(n, static_cast<std::int32_t>(keys)), keys};
}

}  // namespace strait::kernels::test
