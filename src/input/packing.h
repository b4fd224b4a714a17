#pragma once

#include <cstdint>
#include <memory>

#include "config/config.h"
#include "input/samples.h"
#include "input/token_source.h"

namespace strait::input {

struct PackingOptions {
  std::int64_t seq_len = 0;
  bool document_mask = true;  // documents of a sequence are apart; else it is one document
  config::Packing kind = config::Packing::chunk;
};

/// A run of tokens made into sequences of seq_len inputs, each with the label that follows it.
/// Where documents are apart, the input EOD has no label, for the next token belongs to another
/// document. Places that no token fills hold EOD without a label.
class Packing {
 public:
  virtual ~Packing() = default;
  /// Sequences of one epoch; at least 1.
  virtual std::int64_t count() const = 0;
  /// Tokens that the sequences of an epoch take in, padding not counted.
  virtual std::int64_t tokens() const = 0;
  /// Writes sequence `i` as row `row` of `out`. Preconditions: 0 <= i < count(), `out` has the row
  /// and this seq_len.
  virtual void write(std::int64_t i, std::int64_t row, Samples& out) const = 0;
};

/// `tokens.source` outlives the result. Throws InputError when the tokens make no sequence.
std::unique_ptr<Packing> make_packing(const TokenView& tokens, const PackingOptions& options);

}  // namespace strait::input
