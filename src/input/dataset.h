#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "config/config.h"
#include "input/token_source.h"
#include "input/tokenizer.h"

namespace strait::input {

/// Tokens under a name, of one or several files that data.train or data.val lists.
struct NamedTokens {
  std::string name;
  TokenView tokens;
  double share = 0;  // of the training tokens, relative to the other datasets'
};

/// The training and validation tokens of a run. Owns the sources; the views live as long as it.
class Dataset {
 public:
  /// Opens what `data` lists; random ids are drawn by `seed` from `vocab_size`. Reads every token
  /// of files that say nothing of their documents. Throws InputError naming the file or field.
  Dataset(const config::Data& data, const Tokenizer& tokenizer, std::uint64_t seed,
          std::int64_t vocab_size);

  /// At least one.
  const std::vector<NamedTokens>& train() const { return train_; }
  /// Empty when there is no validation split.
  const std::vector<NamedTokens>& validation() const { return validation_; }

 private:
  std::vector<std::unique_ptr<TokenSource>> sources_;
  std::vector<NamedTokens> train_;
  std::vector<NamedTokens> validation_;
};

/// Hash (XXH3, 16 hex digits) of the ids and shares of datasets: what a resumed run must find
/// again, whatever its files are called and how they are stored. Reads every token and so finds
/// those outside the vocabulary: InputError. Random ids count by their share alone.
std::string fingerprint(const std::vector<NamedTokens>& datasets);

}  // namespace strait::input
