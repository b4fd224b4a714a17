#include "input/dataset.h"

#include <span>

#include "config/data_list.h"
#include "core/error.h"
#include "core/hash.h"
#include "input/open_tokens.h"
#include "input/random_source.h"

namespace strait::input {
namespace {

std::unique_ptr<TokenSource> open_part(const config::DataPart& part, const Tokenizer& tokenizer,
                                       config::DataFormat format) {
  std::vector<std::unique_ptr<TokenSource>> sources;
  for (const auto& file : config::matching_files(part.path)) {
    sources.push_back(open_tokens(file, tokenizer, format));
  }
  if (sources.empty()) throw core::InputError(part.path + ": no such file");
  if (sources.size() == 1) return std::move(sources.front());
  return std::make_unique<JoinedSource>(std::move(sources));
}

std::string name_of(const config::DataPart& part) {
  return std::filesystem::path(part.path).stem().string();
}

}  // namespace

Dataset::Dataset(const config::Data& data, const Tokenizer& tokenizer, std::uint64_t seed,
                 std::int64_t vocab_size) {
  const auto keep = [&](std::unique_ptr<TokenSource> source) -> const TokenSource& {
    return *sources_.emplace_back(std::move(source));
  };
  if (data.train == config::kRandomTokens) {
    const auto& source = keep(std::make_unique<RandomSource>(seed, vocab_size, tokenizer.eod()));
    train_.push_back({.name = data.train, .tokens = whole(source), .share = 1});
  }
  for (const config::DataPart& part : config::data_parts(data.train)) {
    if (data.train == config::kRandomTokens) break;
    const auto& source = keep(open_part(part, tokenizer, data.format));
    const bool split = data.val.empty() && data.val_documents > 0;
    const auto [rest, held] = hold_out(source, split ? data.val_documents : 0);
    const double share = part.share > 0 ? part.share : static_cast<double>(rest.size);
    train_.push_back({.name = name_of(part), .tokens = rest, .share = share});
    if (split) validation_.push_back({.name = name_of(part), .tokens = held});
  }
  for (const config::DataPart& part : config::data_parts(data.val)) {
    const auto& source = keep(open_part(part, tokenizer, data.format));
    validation_.push_back({.name = name_of(part), .tokens = whole(source)});
  }
}

std::string fingerprint(const std::vector<NamedTokens>& datasets) {
  core::Hasher hasher;
  const auto add = [&](auto values) { hasher.add(std::as_bytes(values)); };
  for (const NamedTokens& set : datasets) {
    add(std::span(&set.share, 1));
    add(std::span(&set.tokens.size, 1));
    if (!set.tokens.source->stored()) continue;
    for_each_block(set.tokens, [&](auto block) { add(block); });
  }
  return core::hash_text(hasher.hash());
}

}  // namespace strait::input
