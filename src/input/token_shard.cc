#include "input/token_shard.h"

#include <algorithm>
#include <string_view>

#include "core/error.h"

namespace strait::input {
namespace {

constexpr const char* kRemake = "make it again with ./tokenize";

/// The bytes up to the first zero.
template <std::size_t N>
std::string_view text(const std::array<char, N>& bytes) {
  return {bytes.data(),
          static_cast<std::size_t>(std::find(bytes.begin(), bytes.end(), '\0') - bytes.begin())};
}

}  // namespace

TokenShard::TokenShard(const std::filesystem::path& path, const Tokenizer& tokenizer)
    : file_(path), header_(file_.header<ShardHeader>("a token shard")) {
  check_header(tokenizer);
  layout_ = {.offset = sizeof header_,
             .token_bytes = static_cast<int>(header_.token_bytes),
             .vocab_size = static_cast<std::int64_t>(header_.vocab_size),
             .remedy = kRemake};
  std::int32_t last = 0;
  read(size() - 1, {&last, 1});
  file_.require(last == eod(), "last token", "EOD (" + std::to_string(eod()) + ")",
                std::to_string(last), kRemake);
}

void TokenShard::check_header(const Tokenizer& tokenizer) const {
  const ShardHeader& h = header_;
  auto check = [&](bool ok, const char* field, std::uint64_t expected, std::uint64_t got,
                   const std::string& remedy) {
    file_.require(ok, field, std::to_string(expected), std::to_string(got), remedy);
  };
  file_.require(h.magic == kShardMagic, "magic", quoted(text(kShardMagic)), quoted(text(h.magic)),
                "not a token shard: name one made by ./tokenize, or a .txt file");
  check(h.version != __builtin_bswap32(kShardVersion), "version", kShardVersion, h.version,
        std::string("written in the other byte order: ") + kRemake);
  check(h.version == kShardVersion, "version", kShardVersion, h.version, kRemake);
  file_.require(h.token_bytes == 2 || h.token_bytes == 4, "token_bytes", "2 or 4",
                std::to_string(h.token_bytes), kRemake);
  const std::string_view name = text(h.tokenizer);
  file_.require(name == tokenizer.name(), "tokenizer", quoted(tokenizer.name()), quoted(name),
                "set data.tokenizer to the shard's, or tokenize the text again");
  const auto vocab = static_cast<std::uint64_t>(tokenizer.vocab_size());
  check(h.vocab_size == vocab, "vocab_size", vocab, h.vocab_size,
        "the tokenizer has changed since: " + std::string(kRemake));
  const auto eod = static_cast<std::uint64_t>(tokenizer.eod());
  check(h.eod == eod, "eod", eod, h.eod, kRemake);
  const std::uint64_t body = file_.size() - sizeof h;
  // Divided, not multiplied: a hostile count must not overflow.
  file_.require(body % h.token_bytes == 0 && h.token_count == body / h.token_bytes, "token_count",
                std::to_string(body / h.token_bytes) + " (" + std::to_string(body) +
                    " bytes follow the header)",
                std::to_string(h.token_count),
                std::string("the file is cut short or damaged: ") + kRemake);
  file_.require(h.token_count >= 1, "token_count", "at least 1", "0", kRemake);
  file_.require(h.document_count >= 1 && h.document_count <= h.token_count, "document_count",
                "1.." + std::to_string(h.token_count) + " (token_count)",
                std::to_string(h.document_count), kRemake);
}

void TokenShard::read(std::int64_t first, std::span<std::int32_t> out) const {
  check_range(first, out.size(), size());
  read_packed(file_, layout_, first, out);
}

}  // namespace strait::input
