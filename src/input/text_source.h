#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string_view>

#include "input/token_source.h"
#include "input/tokenizer.h"

namespace strait::input {

/// The line that separates documents in a text file.
inline constexpr std::string_view kDocumentSeparator = "<|endoftext|>";

/// Calls `visit` with each document of `text`: the lines between separator lines, joined by "\n"
/// without a final one. A line may end in "\r\n". Documents that hold only empty lines are skipped.
/// The view passed is valid during the call.
void for_each_document(std::string_view text, const std::function<void(std::string_view)>& visit);

/// Reads and tokenises a text file in memory. Throws InputError when it cannot be read or holds no
/// text.
std::unique_ptr<TokenSource> read_text_source(const std::filesystem::path& path,
                                              const Tokenizer& tokenizer);

}  // namespace strait::input
