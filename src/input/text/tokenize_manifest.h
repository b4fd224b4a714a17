#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace strait::input {

/// What was seen of documents.
struct TextStatistics {
  static constexpr std::size_t kBuckets = 32;
  std::int64_t documents = 0;
  std::int64_t bytes = 0;                        // of text
  std::int64_t tokens = 0;                       // EODs included
  std::array<std::int64_t, kBuckets> lengths{};  // documents of 2^i .. 2^(i+1) - 1 tokens

  void add(std::int64_t document_bytes, std::int64_t document_tokens);
  bool operator==(const TextStatistics&) const = default;
};

/// PREFIX.json: how far ./tokenize has come, and in the end what it made. `settings` is what must
/// be the same for a run that goes on, as "key: value" lines.
struct TokenizeManifest {
  std::string settings;
  bool complete = false;
  std::int64_t documents_done = 0;            // taken from the input by finished shards
  std::vector<std::string> shards, held_out;  // file names, in order
  TextStatistics statistics;                  // of all shards

  bool operator==(const TokenizeManifest&) const = default;
};

/// Writes the manifest whole or not at all. Throws RuntimeFault.
void write_manifest(const std::filesystem::path& path, const TokenizeManifest& manifest);

/// Nothing when there is no such file. Throws InputError when it is not a manifest.
std::optional<TokenizeManifest> read_manifest(const std::filesystem::path& path);

}  // namespace strait::input
