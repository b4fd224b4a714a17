#pragma once

#include <cstdint>
#include <vector>

#include "kernels/cross_entropy.h"

namespace strait::input {

/// Label of a position that no loss counts.
inline constexpr std::int32_t kIgnoredLabel = kernels::kIgnoreLabel;

/// Sequences of a batch, row after row.
struct Samples {
  std::int64_t count = 0;
  std::int64_t seq_len = 0;
  std::vector<std::int32_t> ids;      // [count, seq_len] inputs
  std::vector<std::int32_t> labels;   // [count, seq_len] next tokens, or kIgnoredLabel
  std::vector<std::int32_t> doc_pos;  // [count, seq_len] tokens since the document began, counted
                                      // inside the sequence: 0 where attention restarts

  /// Makes room for `rows` sequences; memory of an earlier, larger batch is kept and used.
  void resize(std::int64_t rows, std::int64_t length);
};

/// Labels that a loss counts.
std::int64_t counted_labels(const Samples& samples);

}  // namespace strait::input
