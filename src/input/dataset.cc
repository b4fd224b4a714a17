#include "input/dataset.h"

#include <tuple>

#include "config/config.h"
#include "input/random_source.h"
#include "input/text_source.h"
#include "input/token_shard.h"

namespace strait::input {

std::unique_ptr<TokenSource> open_source(const std::filesystem::path& path,
                                         const Tokenizer& tokenizer) {
  if (path.extension() == ".txt") return read_text_source(path, tokenizer);
  return std::make_unique<TokenShard>(path, tokenizer);
}

Dataset::Dataset(const DatasetOptions& options, const Tokenizer& tokenizer) {
  const bool random = options.train == config::kRandomTokens;
  if (random) {
    train_source_ =
        std::make_unique<RandomSource>(options.seed, options.vocab_size, tokenizer.eod());
  } else {
    train_source_ = open_source(options.train, tokenizer);
  }
  if (random && options.val.empty()) {
    train_ = whole(*train_source_);
    return;
  }
  if (options.val.empty()) {
    std::tie(train_, validation_) = hold_out(*train_source_, options.val_documents);
    return;
  }
  val_source_ = open_source(options.val, tokenizer);
  train_ = whole(*train_source_);
  validation_ = whole(*val_source_);
}

}  // namespace strait::input
