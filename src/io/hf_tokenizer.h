#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

// Tokenizer files of a Hugging Face folder.
namespace strait::io {

/// Writes tokenizer.json and tokenizer_config.json that give the ids of the tokenizer "bytes": byte
/// b is token b, `eod` ends a document.
void write_byte_tokenizer(const std::filesystem::path& folder, std::int64_t eod);

/// Copies the tokenizer files that `from` has. Returns how many.
int copy_tokenizer_files(const std::filesystem::path& from, const std::filesystem::path& to);

/// What data.tokenizer called the folder's tokenizer, where this project wrote it; else empty.
std::string tokenizer_name(const std::filesystem::path& folder);

}  // namespace strait::io
