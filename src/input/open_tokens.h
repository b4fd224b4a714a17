#pragma once

#include <filesystem>
#include <memory>

#include "config/config.h"
#include "input/token_source.h"
#include "input/tokenizer.h"

namespace strait::input {

/// Opens one file of text or tokens. With DataFormat::automatic a name that ends in .txt is text,
/// and a token file is known by its magic; bare ids have none and must be asked for. Throws
/// InputError naming the file and what is wrong with it.
std::unique_ptr<TokenSource> open_tokens(const std::filesystem::path& path,
                                         const Tokenizer& tokenizer,
                                         config::DataFormat format = config::DataFormat::automatic);

}  // namespace strait::input
