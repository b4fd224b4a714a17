#include "input/token_shard.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
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

/// For a message: a hostile header cannot write control codes to the terminal.
std::string quoted(std::string_view bytes) {
  std::string out = "\"";
  for (const char c : bytes) out.push_back(c >= ' ' && c <= '~' ? c : '?');
  return out + "\"";
}

[[noreturn]] void fail(const std::filesystem::path& path, const std::string& why) {
  throw core::InputError(path.string() + ": cannot read: " + why);
}

std::uint64_t file_size(int file, const std::filesystem::path& path) {
  struct stat status {};
  if (::fstat(file, &status) != 0) fail(path, std::strerror(errno));
  if (!S_ISREG(status.st_mode)) fail(path, "not a regular file; name a token shard or a .txt file");
  return static_cast<std::uint64_t>(status.st_size);
}

}  // namespace

TokenShard::TokenShard(std::filesystem::path path, const Tokenizer& tokenizer)
    : path_(std::move(path)),
      // O_NONBLOCK: a pipe is refused below, not waited for.
      file_(::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
  if (file_ < 0) fail(path_, std::strerror(errno));
  try {
    const std::uint64_t bytes = file_size(file_, path_);
    require(bytes >= sizeof header_, "length", std::to_string(sizeof header_) + " bytes or more",
            std::to_string(bytes), std::string("not a token shard, or cut short: ") + kRemake);
    read_bytes(0, &header_, sizeof header_);
    check_header(tokenizer, bytes);
    std::int32_t last = 0;
    read(size() - 1, {&last, 1});
    require(last == eod(), "last token", "EOD (" + std::to_string(eod()) + ")",
            std::to_string(last), kRemake);
  } catch (...) {
    ::close(file_);
    throw;
  }
}

TokenShard::~TokenShard() {
  ::close(file_);
}

void TokenShard::require(bool ok, const char* field, const std::string& expected,
                         const std::string& got, const std::string& remedy) const {
  if (ok) return;
  throw core::InputError(path_.string() + ": " + field + ": expected " + expected + ", got " + got +
                         "; " + remedy);
}

void TokenShard::check_header(const Tokenizer& tokenizer, std::uint64_t file_bytes) const {
  const ShardHeader& h = header_;
  auto check = [&](bool ok, const char* field, std::uint64_t expected, std::uint64_t got,
                   const std::string& remedy) {
    require(ok, field, std::to_string(expected), std::to_string(got), remedy);
  };
  require(h.magic == kShardMagic, "magic", quoted(text(kShardMagic)), quoted(text(h.magic)),
          "not a token shard: name one made by ./tokenize, or a .txt file");
  check(h.version != __builtin_bswap32(kShardVersion), "version", kShardVersion, h.version,
        std::string("written in the other byte order: ") + kRemake);
  check(h.version == kShardVersion, "version", kShardVersion, h.version, kRemake);
  require(h.token_bytes == 2 || h.token_bytes == 4, "token_bytes", "2 or 4",
          std::to_string(h.token_bytes), kRemake);
  const std::string_view name = text(h.tokenizer);
  require(name == tokenizer.name(), "tokenizer", quoted(tokenizer.name()), quoted(name),
          "set data.tokenizer to the shard's, or tokenize the text again");
  const auto vocab = static_cast<std::uint64_t>(tokenizer.vocab_size());
  check(h.vocab_size == vocab, "vocab_size", vocab, h.vocab_size,
        "the tokenizer has changed since: " + std::string(kRemake));
  const auto eod = static_cast<std::uint64_t>(tokenizer.eod());
  check(h.eod == eod, "eod", eod, h.eod, kRemake);
  const std::uint64_t body = file_bytes - sizeof h;
  // Divided, not multiplied: a hostile count must not overflow.
  require(body % h.token_bytes == 0 && h.token_count == body / h.token_bytes, "token_count",
          std::to_string(body / h.token_bytes) + " (" + std::to_string(body) +
              " bytes follow the header)",
          std::to_string(h.token_count),
          std::string("the file is cut short or damaged: ") + kRemake);
  require(h.token_count >= 1, "token_count", "at least 1", "0", kRemake);
  require(h.document_count >= 1 && h.document_count <= h.token_count, "document_count",
          "1.." + std::to_string(h.token_count) + " (token_count)",
          std::to_string(h.document_count), kRemake);
}

void TokenShard::read_bytes(std::int64_t offset, void* out, std::size_t bytes) const {
  auto* at = static_cast<char*>(out);
  while (bytes > 0) {
    const ssize_t got = ::pread(file_, at, bytes, offset);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail(path_, std::strerror(errno));
    if (got == 0)
      fail(path_, "ends at byte " + std::to_string(offset) + "; it shrank while in use");
    at += got;
    offset += got;
    bytes -= static_cast<std::size_t>(got);
  }
}

template <class Token>
void TokenShard::read_as(std::int64_t first, std::span<std::int32_t> out) const {
  // The packed ids land in the tail of `out` and are widened from its front.
  auto* packed =
      reinterpret_cast<unsigned char*>(out.data() + out.size()) - out.size() * sizeof(Token);
  read_bytes(
      static_cast<std::int64_t>(sizeof header_) + first * static_cast<std::int64_t>(sizeof(Token)),
      packed, out.size() * sizeof(Token));
  for (std::size_t i = 0; i < out.size(); ++i) {
    Token token;
    std::memcpy(&token, packed + i * sizeof(Token), sizeof token);
    if (token >= header_.vocab_size) {
      require(false, ("token " + std::to_string(first + static_cast<std::int64_t>(i))).c_str(),
              "below " + std::to_string(header_.vocab_size) + " (vocab_size)",
              std::to_string(token), kRemake);
    }
    out[i] = static_cast<std::int32_t>(token);
  }
}

void TokenShard::read(std::int64_t first, std::span<std::int32_t> out) const {
  check_range(first, out.size(), size());
  if (header_.token_bytes == 2) {
    read_as<std::uint16_t>(first, out);
  } else {
    read_as<std::uint32_t>(first, out);
  }
}

}  // namespace strait::input
