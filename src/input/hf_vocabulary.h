#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace strait::input {

/// What a Hugging Face tokenizer's files say without running it.
struct HfVocabulary {
  std::vector<std::string> pieces;  // bytes that each id stands for; none for special tokens
  std::int32_t eod = 0;
  std::string contents;  // of the files, to name them by
};

/// `path` as for open_hf_tokenizer(). Throws InputError naming the file and what it lacks.
HfVocabulary read_hf_vocabulary(const std::filesystem::path& path);

}  // namespace strait::input
