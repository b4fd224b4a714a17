#pragma once

#include <filesystem>
#include <memory>

#include "input/mapped_file.h"
#include "input/packed_tokens.h"
#include "input/token_source.h"
#include "input/tokenizer.h"

// Token files of other programs that hold one run of ids behind a header of known length, little
// endian. They name no tokenizer: the ids must lie in `tokenizer`'s vocabulary, all of which is
// checked when the file is opened, and documents are told apart by its EOD. The first document
// may begin with an EOD and the last one may lack it.
namespace strait::input {

/// llm.c and (modded-)nanogpt, dev/data/data_common.py: 256 int32 (magic, version, tokens), then
/// ids. Magic 20240520, version 1: uint16; 20240801, version 7: uint32.
inline constexpr std::uint32_t kLlmcMagic16 = 20240520, kLlmcMagic32 = 20240801;
inline constexpr std::uint32_t kLlmcVersion16 = 1, kLlmcVersion32 = 7;
inline constexpr std::size_t kLlmcHeaderBytes = 1024;
std::unique_ptr<TokenSource> open_llmc(const std::filesystem::path& path,
                                       const Tokenizer& tokenizer);

/// LLMQ, scripts/tokenize_data.py: "BIN.TOK\n", int32 version (2), bytes per id, tokens,
/// vocabulary, whether loss masks follow; 1024 bytes in all, then ids. Files with masks are
/// refused.
inline constexpr std::string_view kLlmqMagic = "BIN.TOK\n";
std::unique_ptr<TokenSource> open_llmq(const std::filesystem::path& path,
                                       const Tokenizer& tokenizer);

/// Bare uint16 ids without a header (nanoGPT's train.bin).
std::unique_ptr<TokenSource> open_uint16(const std::filesystem::path& path,
                                         const Tokenizer& tokenizer);

}  // namespace strait::input
