#pragma once

#include <string>
#include <vector>

#include "input/tokenizer.h"

namespace strait::input {

/// A tokenizer whose every id stands for a fixed run of bytes.
class PieceTokenizer : public Tokenizer {
 public:
  std::string_view name() const final { return name_; }
  std::int32_t vocab_size() const final { return static_cast<std::int32_t>(pieces_.size()); }
  std::int32_t eod() const final { return eod_; }
  std::string decode(std::span<const std::int32_t> tokens) const final;
  std::int32_t bytes_of(std::int32_t token) const final;

 protected:
  /// `pieces` of every id; EOD's is emptied.
  PieceTokenizer(std::string name, std::vector<std::string> pieces, std::int32_t eod);

 private:
  const std::string& piece(std::int32_t token) const;

  std::string name_;
  std::vector<std::string> pieces_;
  std::int32_t eod_;
};

/// Bytes of a token as SentencePiece writes it: U+2581 is a space, <0x0A> a byte.
std::string marked_text(std::string_view token);

}  // namespace strait::input
