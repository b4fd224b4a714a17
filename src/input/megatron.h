#pragma once

#include <filesystem>
#include <memory>

#include "input/token_source.h"
#include "input/tokenizer.h"

// Megatron-LM's indexed dataset (megatron/core/datasets/indexed_dataset.py), little endian.
// <name>.bin holds ids, <name>.idx:
//
//   bytes  field
//       9  magic "MMIDIDX\0\0"
//       8  version, 1
//       1  type of the ids: 4 int32, 8 uint16 (others are refused)
//       8  sequences, N
//       8  entries of the document index, M + 1
//    4 N   ids of each sequence
//    8 N   byte where each sequence begins
//  8(M+1)  first sequence of each document, and N
namespace strait::input {

inline constexpr std::string_view kMegatronMagic{"MMIDIDX\0\0", 9};

/// Opens the pair by either name. Documents that do not end in EOD are given one. Throws
/// InputError naming the file, field and remedy; every id is checked.
std::unique_ptr<TokenSource> open_megatron(const std::filesystem::path& path,
                                           const Tokenizer& tokenizer);

}  // namespace strait::input
