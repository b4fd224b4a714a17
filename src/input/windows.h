#pragma once

#include <cstdint>

#include "input/packing.h"

namespace strait::input {

/// Documents one after another, cut every seq_len tokens: window w has inputs w S .. w S + S-1. The
/// last window is padded. A window start begins a document.
class Windows final : public Packing {
 public:
  Windows(const TokenView& tokens, const PackingOptions& options)
      : tokens_(tokens), options_(options) {}

  /// Windows with at least one label; 0 when there is none.
  std::int64_t count() const override;
  std::int64_t tokens() const override { return tokens_.size - 1; }
  /// As Packing::write, for any w >= 0: what reaches past the tokens is padding.
  void write(std::int64_t w, std::int64_t row, Samples& out) const override;

 private:
  TokenView tokens_;
  PackingOptions options_;
};

}  // namespace strait::input
