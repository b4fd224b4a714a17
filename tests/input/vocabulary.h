#pragma once

#include <string>
#include <vector>

#include "input/token_source.h"
#include "input/tokenizer.h"

namespace strait::input::test {

/// A vocabulary of any size whose last id is EOD; it never encodes.
class AnyVocabulary final : public Tokenizer {
 public:
  AnyVocabulary(std::string name, std::int32_t vocab) : name_(std::move(name)), vocab_(vocab) {}
  std::string_view name() const override { return name_; }
  std::int32_t vocab_size() const override { return vocab_; }
  std::int32_t eod() const override { return vocab_ - 1; }
  std::vector<std::int32_t> encode(std::string_view) const override { return {}; }
  std::string decode(std::span<const std::int32_t>) const override { return {}; }
  std::int32_t bytes_of(std::int32_t) const override { return 1; }

 private:
  std::string name_;
  std::int32_t vocab_;
};

inline std::vector<std::int32_t> contents(const TokenSource& source) {
  std::vector<std::int32_t> out(static_cast<std::size_t>(source.size()));
  source.read(0, out);
  return out;
}

}  // namespace strait::input::test
