#include <algorithm>
#include <array>

#include "core/error.h"
#include "input/token_shard.h"
#include "tests/fuzz/memory_file.h"

namespace {

/// Enough of the tokenizer "bytes" for a shard to name it.
class Bytes final : public strait::input::Tokenizer {
 public:
  std::string_view name() const override { return "bytes"; }
  std::int32_t vocab_size() const override { return 257; }
  std::int32_t eod() const override { return 256; }
  std::vector<std::int32_t> encode(std::string_view) const override { return {}; }
  std::string decode(std::span<const std::int32_t>) const override { return ""; }
  std::int32_t bytes_of(std::int32_t) const override { return 1; }
};

}  // namespace

// A token shard is refused, or its tokens are those of the vocabulary.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const strait::fuzz::MemoryFile file;
  static const Bytes tokenizer;
  file.fill(data, size);
  try {
    const strait::input::TokenShard shard(file.path(), tokenizer);
    std::array<std::int32_t, 64> tokens;
    for (std::int64_t first = 0; first < shard.size(); first += 64) {
      const auto count = static_cast<std::size_t>(std::min<std::int64_t>(64, shard.size() - first));
      shard.read(first, std::span(tokens).first(count));
      for (std::size_t i = 0; i < count; ++i) {
        if (tokens[i] < 0 || tokens[i] >= tokenizer.vocab_size()) std::abort();
      }
    }
  } catch (const strait::core::InputError&) {
  }
  return 0;
}
