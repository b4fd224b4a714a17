#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "input/mapped_file.h"

namespace strait::input {

/// Where unsigned little-endian ids lie in a file, and what they may be.
struct PackedLayout {
  std::uint64_t offset = 0;  // bytes before the first id
  int token_bytes = 2;       // 2 or 4
  std::int64_t vocab_size = 0;
  std::string remedy = {};  // for a message about an id outside the vocabulary
};

/// Widens ids [first, first + out.size()) of `file` into `out`. Throws InputError naming the file
/// and place of the first id that is not below vocab_size. Precondition: the ids lie in the file.
void read_packed(const MappedFile& file, const PackedLayout& layout, std::int64_t first,
                 std::span<std::int32_t> out);

}  // namespace strait::input
