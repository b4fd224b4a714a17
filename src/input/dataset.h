#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>

#include "input/token_source.h"
#include "input/tokenizer.h"

namespace strait::input {

/// Opens a text file (name ends in .txt) or a token shard (any other name). Throws InputError.
std::unique_ptr<TokenSource> open_source(const std::filesystem::path& path,
                                         const Tokenizer& tokenizer);

struct DatasetOptions {
  std::filesystem::path train;     // or config::kRandomTokens
  std::uint64_t seed = 0;          // of random ids
  std::int64_t vocab_size = 0;     // of the model: what random ids are drawn from
  std::filesystem::path val = {};  // empty: the last val_documents of train
  std::int64_t val_documents =
      1;  // used when val is empty; 0, or with random ids: no validation split
};

/// The training and validation tokens of a run. Owns the sources; the views live as long as it.
class Dataset {
 public:
  /// Throws InputError naming the file or field.
  Dataset(const DatasetOptions& options, const Tokenizer& tokenizer);

  const TokenView& train() const { return train_; }
  /// Of size 0 when there is no validation split.
  const TokenView& validation() const { return validation_; }

 private:
  std::unique_ptr<TokenSource> train_source_;
  std::unique_ptr<TokenSource> val_source_;
  TokenView train_;
  TokenView validation_;
};

}  // namespace strait::input
