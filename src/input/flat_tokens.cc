#include "input/flat_tokens.h"

#include <algorithm>
#include <array>

namespace strait::input {
namespace {

const std::string kDamaged = "the file is cut short or damaged: fetch or make it again";
const std::string kSwapped = "written in the other byte order: make it on a little-endian machine";

class FlatTokens final : public TokenSource {
 public:
  /// `tokens`: what the header says follows it. Throws InputError when the file's length or an id
  /// says otherwise.
  FlatTokens(std::unique_ptr<MappedFile> file, PackedLayout layout, std::uint64_t tokens,
             const Tokenizer& tokenizer)
      : file_(std::move(file)), layout_(std::move(layout)), eod_(tokenizer.eod()) {
    layout_.vocab_size = tokenizer.vocab_size();
    layout_.remedy =
        "set data.tokenizer to the one that made the file (" + std::string(tokenizer.name()) + ")";
    const std::uint64_t body = file_->size() - layout_.offset;
    const auto width = static_cast<std::uint64_t>(layout_.token_bytes);
    file_->require(
        body % width == 0 && body / width == tokens, "token count",
        std::to_string(body / width) + " (" + std::to_string(body) + " bytes follow the header)",
        std::to_string(tokens), kDamaged);
    file_->require(tokens >= 1, "token count", "at least 1", "0", kDamaged);
    size_ = static_cast<std::int64_t>(tokens);
    documents_ = count_documents(*this);
  }

  std::int64_t size() const override { return size_; }
  std::int64_t documents() const override { return documents_; }
  std::int32_t eod() const override { return eod_; }
  void read(std::int64_t first, std::span<std::int32_t> out) const override {
    check_range(first, out.size(), size_);
    read_packed(*file_, layout_, first, out);
  }

 private:
  std::unique_ptr<MappedFile> file_;
  PackedLayout layout_;
  std::int32_t eod_;
  std::int64_t size_ = 0;
  std::int64_t documents_ = 0;
};

std::string number(std::uint64_t value) {
  return std::to_string(value);
}

}  // namespace

std::unique_ptr<TokenSource> open_llmc(const std::filesystem::path& path,
                                       const Tokenizer& tokenizer) {
  auto file = std::make_unique<MappedFile>(path);
  const auto header =
      file->header<std::array<std::uint32_t, kLlmcHeaderBytes / 4>>("an llm.c shard");
  const auto [magic, version, tokens] = std::array{header[0], header[1], header[2]};
  const std::string known = number(kLlmcMagic16) + " or " + number(kLlmcMagic32);
  const std::uint32_t swapped = __builtin_bswap32(magic);
  file->require(swapped != kLlmcMagic16 && swapped != kLlmcMagic32, "magic", known, number(magic),
                kSwapped);
  file->require(magic == kLlmcMagic16 || magic == kLlmcMagic32, "magic", known, number(magic),
                "not an llm.c shard of tokens: see data.format");
  const bool wide = magic == kLlmcMagic32;
  const std::uint32_t expected = wide ? kLlmcVersion32 : kLlmcVersion16;
  file->require(version == expected, "version", number(expected), number(version),
                "another version of the format: make it again");
  return std::make_unique<FlatTokens>(
      std::move(file), PackedLayout{.offset = kLlmcHeaderBytes, .token_bytes = wide ? 4 : 2},
      tokens, tokenizer);
}

std::unique_ptr<TokenSource> open_llmq(const std::filesystem::path& path,
                                       const Tokenizer& tokenizer) {
  struct Header {
    std::array<char, 8> magic;
    std::uint32_t version, token_bytes, tokens, vocab_size, masks;
    std::array<char, 996> filler;
  };
  static_assert(sizeof(Header) == 1024);
  constexpr std::uint32_t kVersion = 2;
  auto file = std::make_unique<MappedFile>(path);
  const Header h = file->header<Header>("an LLMQ token file");
  const std::string_view magic(h.magic.data(), h.magic.size());
  file->require(magic == kLlmqMagic, "magic", quoted(kLlmqMagic), quoted(magic),
                "not an LLMQ token file: see data.format");
  file->require(h.version != __builtin_bswap32(kVersion), "version", number(kVersion),
                number(h.version), kSwapped);
  file->require(h.version == kVersion, "version", number(kVersion), number(h.version),
                "another version of the format: make it again");
  file->require(h.token_bytes == 2 || h.token_bytes == 4, "bytes per token", "2 or 4",
                number(h.token_bytes), kDamaged);
  file->require(h.masks == 0, "masks", "0", number(h.masks),
                "the file is for fine-tuning: make it again without masks");
  const auto vocab = static_cast<std::uint64_t>(tokenizer.vocab_size());
  file->require(
      h.vocab_size <= vocab, "vocab_size", "at most " + number(vocab), number(h.vocab_size),
      "set data.tokenizer to the one that made the file (" + std::string(tokenizer.name()) + ")");
  return std::make_unique<FlatTokens>(
      std::move(file),
      PackedLayout{.offset = sizeof h, .token_bytes = static_cast<int>(h.token_bytes)}, h.tokens,
      tokenizer);
}

std::unique_ptr<TokenSource> open_uint16(const std::filesystem::path& path,
                                         const Tokenizer& tokenizer) {
  auto file = std::make_unique<MappedFile>(path);
  file->require(file->size() % 2 == 0, "length", "an even number of bytes", number(file->size()),
                kDamaged);
  const std::uint64_t tokens = file->size() / 2;
  return std::make_unique<FlatTokens>(std::move(file), PackedLayout{.token_bytes = 2}, tokens,
                                      tokenizer);
}

}  // namespace strait::input
