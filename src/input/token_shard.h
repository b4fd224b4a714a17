#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>

#include "config/config.h"
#include "input/mapped_file.h"
#include "input/packed_tokens.h"
#include "input/token_source.h"
#include "input/tokenizer.h"

// Tokens on disk: an 80-byte little-endian header, then the tokens, u16 or u32 each.
//
//   offset  bytes  field
//        0      8  magic, "STRTOK01"
//        8      4  version, 1
//       12      4  token_bytes, 2 or 4
//       16      8  vocab_size
//       24      8  token_count, EODs included
//       32      8  document_count; every document ends with EOD
//       40      8  eod, the id that ends documents
//       48     32  tokenizer, padded with zero bytes
namespace strait::input {

inline constexpr std::array<char, 8> kShardMagic = {'S', 'T', 'R', 'T', 'O', 'K', '0', '1'};
inline constexpr std::uint32_t kShardVersion = 1;
inline constexpr std::size_t kTokenizerNameBytes = 32;

struct ShardHeader {
  std::array<char, 8> magic = kShardMagic;
  std::uint32_t version = kShardVersion;
  std::uint32_t token_bytes = 0;
  std::uint64_t vocab_size = 0;
  std::uint64_t token_count = 0;
  std::uint64_t document_count = 0;
  std::uint64_t eod = 0;
  std::array<char, kTokenizerNameBytes> tokenizer{};
};
static_assert(sizeof(ShardHeader) == 80);
static_assert(std::endian::native == std::endian::little, "token shards are little-endian");

/// Reads a shard in place: nothing is loaded but the tokens asked for, and a file that shrinks
/// while in use is an error, not a crash. The constructor checks header, length and the final EOD
/// against the file and `tokenizer`; read() checks every id. Both throw InputError naming path,
/// field, expected, got and remedy.
class TokenShard final : public TokenSource {
 public:
  TokenShard(const std::filesystem::path& path, const Tokenizer& tokenizer);

  std::int64_t size() const override { return static_cast<std::int64_t>(header_.token_count); }
  std::int64_t documents() const override {
    return static_cast<std::int64_t>(header_.document_count);
  }
  std::int32_t eod() const override { return static_cast<std::int32_t>(header_.eod); }
  void read(std::int64_t first, std::span<std::int32_t> out) const override;

 private:
  void check_header(const Tokenizer& tokenizer) const;

  MappedFile file_;
  ShardHeader header_;
  PackedLayout layout_;
};

/// Streams documents into a shard that appears under its name only when finish() returns: a Strait
/// shard, or one of llm.c (flat_tokens.h), where EOD precedes every document instead.
class TokenShardWriter {
 public:
  /// Throws InputError when a file cannot be made beside `path`, or `format` cannot be written.
  TokenShardWriter(std::filesystem::path path, const Tokenizer& tokenizer,
                   config::DataFormat format = config::DataFormat::strait);
  /// Removes what was written unless finish() was reached.
  ~TokenShardWriter();
  TokenShardWriter(const TokenShardWriter&) = delete;
  TokenShardWriter& operator=(const TokenShardWriter&) = delete;

  /// Appends a document and its EOD; an empty one is skipped. Throws InputError when an id is not
  /// of the vocabulary or is EOD.
  void append(std::span<const std::int32_t> document);
  /// Throws InputError when no document was appended, RuntimeFault when writing failed.
  void finish();
  /// Tokens so far, EODs included.
  std::uint64_t tokens() const { return header_.token_count; }

 private:
  void write_header();
  void write_llmc_header();

  std::filesystem::path path_;
  std::filesystem::path temporary_;
  config::DataFormat format_;
  std::ofstream out_;
  ShardHeader header_;
  std::string packed_;  // a document on its way
};

}  // namespace strait::input
