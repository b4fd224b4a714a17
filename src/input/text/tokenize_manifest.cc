#include "input/text/tokenize_manifest.h"

#include <algorithm>
#include <bit>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"

namespace strait::input {

using nlohmann::ordered_json;

void TextStatistics::add(std::int64_t document_bytes, std::int64_t document_tokens) {
  ++documents;
  bytes += document_bytes;
  tokens += document_tokens;
  const auto width = std::bit_width(static_cast<std::uint64_t>(document_tokens));
  ++lengths[std::clamp<std::size_t>(static_cast<std::size_t>(width), 1, kBuckets) - 1];
}

void write_manifest(const std::filesystem::path& path, const TokenizeManifest& manifest) {
  const TextStatistics& s = manifest.statistics;
  ordered_json lengths = ordered_json::array();
  for (std::size_t i = 0; i < s.lengths.size(); ++i) {
    if (s.lengths[i] == 0) continue;
    lengths.push_back({{"from", std::int64_t{1} << i}, {"documents", s.lengths[i]}});
  }
  const double per_token =
      s.tokens > 0 ? static_cast<double>(s.bytes) / static_cast<double>(s.tokens) : 0;
  const ordered_json root{{"complete", manifest.complete},
                          {"documents", s.documents},
                          {"bytes", s.bytes},
                          {"tokens", s.tokens},
                          {"bytes_per_token", per_token},
                          {"lengths_in_tokens", lengths},
                          {"shards", manifest.shards},
                          {"held_out", manifest.held_out},
                          {"documents_done", manifest.documents_done},
                          {"settings", manifest.settings}};
  core::write_file_atomically(path, [&](std::ostream& out) { out << root.dump(2) << "\n"; });
}

std::optional<TokenizeManifest> read_manifest(const std::filesystem::path& path) {
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) return std::nullopt;
  try {
    const ordered_json root = ordered_json::parse(core::read_file(path));
    TokenizeManifest out{.settings = root.at("settings"),
                         .complete = root.at("complete"),
                         .documents_done = root.at("documents_done"),
                         .shards = root.at("shards"),
                         .held_out = root.at("held_out"),
                         .statistics = {.documents = root.at("documents"),
                                        .bytes = root.at("bytes"),
                                        .tokens = root.at("tokens")}};
    for (const ordered_json& entry : root.at("lengths_in_tokens")) {
      const auto from = entry.at("from").get<std::uint64_t>();
      const auto bucket = static_cast<std::size_t>(std::bit_width(from)) - 1;
      out.statistics.lengths.at(bucket) = entry.at("documents");
    }
    return out;
  } catch (const std::exception& error) {
    throw core::InputError(path.string() + ": is not what ./tokenize writes (" + error.what() +
                           "); remove it, or choose another --output");
  }
}

}  // namespace strait::input
