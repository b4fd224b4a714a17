#include "input/dataset.h"

#include <tuple>

#include "input/text_source.h"
#include "input/token_shard.h"

namespace strait::input {

std::unique_ptr<TokenSource> open_source(const std::filesystem::path& path,
                                         const Tokenizer& tokenizer) {
  if (path.extension() == ".txt") return read_text_source(path, tokenizer);
  return std::make_unique<TokenShard>(path, tokenizer);
}

Dataset::Dataset(const DatasetOptions& options, const Tokenizer& tokenizer)
    : train_source_(open_source(options.train, tokenizer)) {
  if (options.val.empty()) {
    std::tie(train_, validation_) = hold_out(*train_source_, options.val_documents);
    return;
  }
  val_source_ = open_source(options.val, tokenizer);
  train_ = whole(*train_source_);
  validation_ = whole(*val_source_);
}

}  // namespace strait::input
