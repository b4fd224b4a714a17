#include <chrono>
#include <cstdio>
#include <filesystem>

#include "core/rng.h"
#include "input/dataset.h"
#include "input/loader.h"
#include "input/token_shard.h"

// Tokens a second that one thread reads, shuffles and packs into batches, from shards in the page
// cache:
//
//   build/tests/loader_bench [FOLDER]    writes 3 shards of 40M tokens there (a temporary folder)
//
// A table on stdout, a row for each packing and sequence length.
namespace {

using namespace strait;
using Clock = std::chrono::steady_clock;

constexpr std::int64_t kShards = 3, kTokens = 40'000'000, kVocabulary = 50257;

/// GPT-2's vocabulary, to write ids with; it encodes no text.
class Ids final : public input::Tokenizer {
 public:
  std::string_view name() const override { return "loader_bench"; }
  std::int32_t vocab_size() const override { return kVocabulary; }
  std::int32_t eod() const override { return kVocabulary - 1; }
  std::vector<std::int32_t> encode(std::string_view) const override { return {}; }
  std::string decode(std::span<const std::int32_t>) const override { return {}; }
  std::int32_t bytes_of(std::int32_t) const override { return 4; }
};

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

/// Documents of 1 to 4000 random ids, most of them short.
void write_shard(const std::filesystem::path& path, std::uint64_t seed) {
  const core::Rng rng(seed, "loader_bench");
  input::TokenShardWriter writer(path, Ids());
  std::uint64_t draw = 0;
  for (std::int64_t written = 0; written < kTokens;) {
    const double u = rng.uniform(draw++);
    std::vector<std::int32_t> document(static_cast<std::size_t>(1 + 3999 * u * u * u));
    for (std::int32_t& id : document) {
      id = static_cast<std::int32_t>(core::philox(seed, draw++, 0)[0] % (kVocabulary - 1));
    }
    writer.append(document);
    written += std::ssize(document) + 1;
  }
  writer.finish();
}

void measure(const input::Dataset& data, config::Packing kind, std::int64_t seq_len) {
  const std::int64_t batch = (1 << 19) / seq_len;
  const auto begin = Clock::now();
  const input::Loader loader(
      data.train(), {.packing = {.seq_len = seq_len, .kind = kind}, .global_batch = batch});
  const double opening = seconds_since(begin);
  input::Samples samples;
  loader.batch(0, 0, batch, samples);  // touches the memory
  std::int64_t steps = 0;
  const auto start = Clock::now();
  while (seconds_since(start) < 3) loader.batch(++steps, 0, batch, samples);
  const double rate = static_cast<double>(steps * batch * seq_len) / seconds_since(start);
  std::printf("| %s | %lld | %.2f | %.0f |\n",
              kind == config::Packing::chunk ? "chunk" : "best_fit",
              static_cast<long long>(seq_len), opening, rate * 1e-6);
}

}  // namespace

int main(int argc, char** argv) {
  namespace fs = std::filesystem;
  const fs::path folder = argc > 1 ? argv[1] : fs::temp_directory_path() / "strait_loader_bench";
  fs::create_directories(folder);
  for (std::int64_t i = 0; i < kShards; ++i) {
    const fs::path path = folder / ("bench-" + std::to_string(i) + ".tok");
    if (!fs::exists(path)) write_shard(path, static_cast<std::uint64_t>(i));
  }
  std::string list;
  for (const char* share : {"0=0.6", "1=0.3", "2=0.1"}) {
    const std::string part(share);
    list += (folder / "bench-").string() + part[0] + ".tok" + part.substr(1) + ",";
  }
  const input::Dataset data({.train = list, .val_documents = 0}, Ids(), 1, kVocabulary);
  const auto begin = Clock::now();
  const std::string print = input::fingerprint(data.train());
  const double tokens = static_cast<double>(kShards * kTokens);
  std::printf("fingerprint %s: %.0f Mtok/s\n\n", print.c_str(),
              tokens * 1e-6 / seconds_since(begin));
  std::printf("| packing | data.seq_len | opening, s | Mtok/s |\n|---|---|---|---|\n");
  for (const config::Packing kind : {config::Packing::chunk, config::Packing::best_fit}) {
    for (const std::int64_t seq_len : {256, 1024, 4096, 16384}) measure(data, kind, seq_len);
  }
  if (argc == 1) fs::remove_all(folder);
}
