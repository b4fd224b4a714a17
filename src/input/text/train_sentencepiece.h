#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace strait::input {

struct SentencePieceOptions {
  std::vector<std::filesystem::path> inputs;  // see text_files()
  std::filesystem::path output;               // the .model file
  std::string text_key = "text";
  std::int64_t vocab_size = 16384;
  std::int64_t bytes = 100 << 20;  // of text that is learnt from, the first ones; held in memory
  int threads = 1;
};

/// Trains a BPE model that loses nothing: no normalisation, bytes for what the vocabulary lacks,
/// digits apart; <unk> 0, <s> 1, </s> 2. Throws InputError when SentencePiece refuses (a vocabulary
/// too large for the text), or the build lacks it.
void train_sentencepiece(const SentencePieceOptions& options);

}  // namespace strait::input
