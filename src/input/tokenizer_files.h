#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "input/tokenizer.h"

// Tokenizers that live in files. Each is known to shards by a name made of its contents, so that a
// file may move but not change.
namespace strait::input {

/// A SentencePiece model (.model). Documents end in its </s>. Throws InputError when the file is no
/// model, lacks </s>, or the build lacks SentencePiece.
std::unique_ptr<Tokenizer> open_sentencepiece(const std::filesystem::path& model);

/// A Hugging Face tokenizer: `path` is a tokenizer.json, or a folder with one or with GPT-2's
/// vocab.json and merges.txt. Documents end in the eos_token of a tokenizer_config.json beside it,
/// else in the first of its known names that the vocabulary has. The vocabulary is read here; text
/// is encoded by scripts/hf_tokenizer.sh, a process per thread that encodes at once, started when
/// first needed. Special tokens in a text are taken for text. Throws InputError.
std::unique_ptr<Tokenizer> open_hf_tokenizer(const std::filesystem::path& path);

/// "<kind>-<16 hex digits>" from a hash of `contents`.
std::string content_name(std::string_view kind, std::string_view contents);

}  // namespace strait::input
