#pragma once

#include <cstdint>
#include <vector>

#include "input/packing.h"

namespace strait::input {

/// Whole documents packed into sequences by best-fit decreasing (Ding et al., "Fewer Truncations
/// Improve Language Modeling", 2024): a document longer than seq_len gives as many full sequences
/// as it can and goes on with the rest; what is left is taken longest first and put where it
/// leaves the least room. Every token is an input once; sequences are padded at their end.
class BestFit final : public Packing {
 public:
  /// Reads every token for the ends of documents; keeps 16 bytes a document.
  BestFit(const TokenView& tokens, const PackingOptions& options);

  std::int64_t count() const override { return static_cast<std::int64_t>(first_.size()) - 1; }
  std::int64_t tokens() const override { return tokens_.size; }
  void write(std::int64_t i, std::int64_t row, Samples& out) const override;

 private:
  /// Tokens of one document, at most seq_len.
  struct Piece {
    std::int64_t begin = 0;
    std::int64_t length = 0;
  };
  std::vector<Piece> cut_documents();
  void pack(std::vector<Piece> pieces);
  void write_piece(const Piece& piece, std::int64_t at, Samples& out) const;

  TokenView tokens_;
  PackingOptions options_;
  std::vector<Piece> pieces_;        // sequence after sequence
  std::vector<std::int64_t> first_;  // piece that each sequence begins with, and the number of all
};

}  // namespace strait::input
