#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "config/config.h"
#include "input/text/mixpr.h"
#include "input/text/tokenize_manifest.h"

namespace strait::input {

struct TokenizeOptions {
  std::vector<std::filesystem::path> inputs;  // see text_files()
  std::filesystem::path output;               // PREFIX of PREFIX-00000.tok, PREFIX.json
  std::string tokenizer = "bytes";
  config::DataFormat format = config::DataFormat::strait;  // or llmc
  std::string text_key = "text";
  std::int64_t shard_tokens = 100'000'000;  // a shard ends with the document that reaches this
  std::int64_t holdout = 0;                 // every n-th document goes to PREFIX-val-*, the rest to
                                            // PREFIX-train-*; 0: none
  int threads = 1;
  bool mixpr = false;  // documents in the order of mixpr.h, part by part
  MixprOptions order = {};
  std::int64_t part_bytes = 256 << 20;  // text ordered at once, which is held in memory
  /// Told of every part that mixpr has ordered, in another thread.
  std::function<void(const MixprOrdering&)> on_part = {};
};

/// How far a job is; told every second or so, after every shard, and at the end.
struct TokenizeProgress {
  std::uint64_t bytes = 0, total_bytes = 0;  // of the input files
  TextStatistics statistics;
  double seconds = 0;  // since the job began
};

/// Text to token shards: streaming, in parallel, in constant memory (with mixpr, a part's text).
/// A shard appears whole or not at all, and the manifest counts it then; a job that was stopped and
/// is started again goes on after its last shard and ends in the same bytes. A complete job is not
/// repeated. Throws InputError, also when the manifest is of another job, and RuntimeFault.
TokenizeManifest tokenize(const TokenizeOptions& options,
                          const std::function<void(const TokenizeProgress&)>& progress);

}  // namespace strait::input
