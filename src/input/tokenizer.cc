#include "input/tokenizer.h"

#include <stdexcept>

#include "core/error.h"

namespace strait::input {
namespace {

class ByteTokenizer final : public Tokenizer {
 public:
  static constexpr std::string_view kName = "bytes";

  std::string_view name() const override { return kName; }
  std::int32_t vocab_size() const override { return kEod + 1; }
  std::int32_t eod() const override { return kEod; }

  std::vector<std::int32_t> encode(std::string_view text) const override {
    const auto* bytes = reinterpret_cast<const unsigned char*>(text.data());
    return {bytes, bytes + text.size()};
  }

  std::string decode(std::span<const std::int32_t> tokens) const override {
    std::string text;
    text.reserve(tokens.size());
    for (const std::int32_t token : tokens) {
      if (bytes_of(token) == 1) text.push_back(static_cast<char>(token));
    }
    return text;
  }

  std::int32_t bytes_of(std::int32_t token) const override {
    if (token < 0 || token > kEod) {
      throw std::out_of_range("tokenizer bytes: expected a token in 0..256, got " +
                              std::to_string(token));
    }
    return token == kEod ? 0 : 1;
  }

 private:
  static constexpr std::int32_t kEod = 256;
};

}  // namespace

std::unique_ptr<Tokenizer> make_tokenizer(std::string_view name) {
  if (name == ByteTokenizer::kName) return std::make_unique<ByteTokenizer>();
  throw core::InputError("data.tokenizer: unknown tokenizer \"" + std::string(name) +
                         "\"; known: " + std::string(ByteTokenizer::kName));
}

}  // namespace strait::input
