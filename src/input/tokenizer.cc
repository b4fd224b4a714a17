#include "input/tokenizer.h"

#include <filesystem>
#include <stdexcept>

#include "config/load.h"
#include "core/error.h"
#include "core/hash.h"
#include "input/tokenizer_files.h"

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

std::string content_name(std::string_view kind, std::string_view contents) {
  return std::string(kind) + "-" + core::hash_text(core::hash_of(contents));
}

std::unique_ptr<Tokenizer> make_tokenizer(std::string_view name) {
  if (name == ByteTokenizer::kName) return std::make_unique<ByteTokenizer>();
  namespace fs = std::filesystem;
  const fs::path path = config::locate(std::string(name));
  std::error_code ignored;
  if (fs::exists(path, ignored)) {
    if (path.extension() == ".model") return open_sentencepiece(path);
    if (path.extension() == ".json") return open_hf_tokenizer(path);
    for (const char* file : {"tokenizer.json", "vocab.json"}) {
      if (fs::exists(path / file, ignored)) return open_hf_tokenizer(path);
    }
    if (fs::exists(path / "tokenizer.model", ignored)) {
      return open_sentencepiece(path / "tokenizer.model");
    }
  }
  throw core::InputError("unknown tokenizer \"" + std::string(name) +
                         "\"; known: " + std::string(ByteTokenizer::kName) +
                         ", a SentencePiece .model file, a tokenizer.json, a folder with one or "
                         "with vocab.json and merges.txt");
}

}  // namespace strait::input
