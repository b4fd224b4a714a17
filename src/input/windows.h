#pragma once

#include <cstdint>
#include <vector>

#include "input/token_source.h"
#include "input/tokenizer.h"
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

struct WindowOptions {
  std::int64_t seq_len = 0;
  bool document_mask = true;  // documents of a window are apart; else it is one document
};

/// A run of tokens cut into sequences: window w has inputs w S .. w S + S-1 and the labels that
/// follow them. Where documents are apart, a window start begins one and the input EOD has no
/// label, for the next token belongs to another document.
class Windows {
 public:
  /// Throws InputError unless seq_len >= 1.
  Windows(const TokenView& tokens, const WindowOptions& options);

  /// Windows with all their labels.
  std::int64_t complete() const;
  /// Windows with at least one label.
  std::int64_t all() const;
  /// Writes window `w` as row `row` of `out`; what reaches past the tokens is EOD without label.
  /// Preconditions: w >= 0, `out` has the row and this seq_len.
  void write(std::int64_t w, std::int64_t row, Samples& out) const;

  std::int64_t seq_len() const { return options_.seq_len; }

 private:
  TokenView tokens_;
  WindowOptions options_;
};

/// Labels that a loss counts.
std::int64_t counted_labels(const Samples& samples);

/// Bytes of text that the counted labels stand for.
std::int64_t label_bytes(const Samples& samples, const Tokenizer& tokenizer);

}  // namespace strait::input
