#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>

#include "core/error.h"
#include "core/files.h"
#include "input/flat_tokens.h"
#include "input/token_shard.h"

namespace strait::input {

using config::DataFormat;

TokenShardWriter::TokenShardWriter(std::filesystem::path path, const Tokenizer& tokenizer,
                                   DataFormat format)
    : path_(std::move(path)),
      temporary_(path_.string() + ".tmp" + std::to_string(::getpid())),
      format_(format) {
  if (format != DataFormat::strait && format != DataFormat::llmc) {
    throw core::InputError(path_.string() + ": can be written as strait or llmc alone");
  }
  const std::string_view name = tokenizer.name();
  if (name.size() > kTokenizerNameBytes) {
    throw core::InputError(path_.string() + ": tokenizer name: expected at most " +
                           std::to_string(kTokenizerNameBytes) + " bytes, got \"" +
                           std::string(name) + "\"; shorten it");
  }
  std::copy(name.begin(), name.end(), header_.tokenizer.begin());
  header_.vocab_size = static_cast<std::uint64_t>(tokenizer.vocab_size());
  header_.eod = static_cast<std::uint64_t>(tokenizer.eod());
  header_.token_bytes = header_.vocab_size - 1 <= std::numeric_limits<std::uint16_t>::max() ? 2 : 4;
  out_.open(temporary_, std::ios::binary | std::ios::trunc);
  if (!out_) {
    throw core::InputError(temporary_.string() + ": cannot create: " + std::strerror(errno) +
                           "; choose a folder that exists and can be written");
  }
  write_header();
}

TokenShardWriter::~TokenShardWriter() {
  if (!out_.is_open()) return;
  out_.close();
  std::error_code ignored;
  std::filesystem::remove(temporary_, ignored);
}

void TokenShardWriter::write_header() {
  if (format_ == DataFormat::llmc) return write_llmc_header();
  out_.write(reinterpret_cast<const char*>(&header_), sizeof header_);
}

void TokenShardWriter::write_llmc_header() {
  std::array<std::uint32_t, kLlmcHeaderBytes / 4> header{};
  const bool wide = header_.token_bytes == 4;
  header[0] = wide ? kLlmcMagic32 : kLlmcMagic16;
  header[1] = wide ? kLlmcVersion32 : kLlmcVersion16;
  header[2] = static_cast<std::uint32_t>(header_.token_count);
  out_.write(reinterpret_cast<const char*>(&header), sizeof header);
}

void TokenShardWriter::append(std::span<const std::int32_t> document) {
  if (document.empty()) return;
  const auto vocab = static_cast<std::int64_t>(header_.vocab_size);
  const auto eod = static_cast<std::int32_t>(header_.eod);
  for (const std::int32_t token : document) {
    if (token >= 0 && token < vocab && token != eod) continue;
    throw core::InputError(path_.string() + ": document " + std::to_string(header_.document_count) +
                           ": expected tokens in 0.." + std::to_string(vocab - 1) + " except EOD " +
                           std::to_string(eod) + ", got " + std::to_string(token) +
                           "; tokenize with the tokenizer the shard names");
  }
  packed_.clear();
  const auto put = [&](std::int32_t token) {  // low bytes come first
    packed_.append(reinterpret_cast<const char*>(&token), header_.token_bytes);
  };
  if (format_ == DataFormat::llmc) put(eod);
  for (const std::int32_t token : document) put(token);
  if (format_ == DataFormat::strait) put(eod);
  out_.write(packed_.data(), static_cast<std::streamsize>(packed_.size()));
  header_.token_count += document.size() + 1;
  ++header_.document_count;
}

void TokenShardWriter::finish() {
  if (header_.document_count == 0) {
    throw core::InputError(path_.string() + ": no document holds text; expected at least one");
  }
  constexpr std::uint64_t kMost = std::numeric_limits<std::int32_t>::max();
  if (format_ == DataFormat::llmc && header_.token_count > kMost) {
    throw core::InputError(path_.string() + ": holds " + std::to_string(header_.token_count) +
                           " tokens, an llm.c shard at most " + std::to_string(kMost) +
                           "; write smaller shards");
  }
  out_.seekp(0);
  write_header();
  out_.flush();
  if (!out_) core::fail_to("write", temporary_, errno);
  core::sync_path(temporary_);
  core::publish(temporary_, path_);
  out_.close();
}

}  // namespace strait::input
