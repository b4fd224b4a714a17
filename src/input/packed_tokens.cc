#include "input/packed_tokens.h"

#include <algorithm>
#include <cstring>

namespace strait::input {
namespace {

template <class Token>
void widen(const MappedFile& file, const PackedLayout& layout, std::int64_t first,
           std::span<std::int32_t> out) {
  const unsigned char* at =
      file.bytes(layout.offset + static_cast<std::uint64_t>(first) * sizeof(Token),
                 out.size() * sizeof(Token))
          .data();
  Token largest = 0;
  for (std::size_t i = 0; i < out.size(); ++i) {
    Token token;
    std::memcpy(&token, at + i * sizeof token, sizeof token);
    largest = std::max(largest, token);
    out[i] = static_cast<std::int32_t>(token);
  }
  if (largest < layout.vocab_size) return;
  for (std::size_t i = 0; i < out.size(); ++i) {
    const auto token = static_cast<std::int64_t>(static_cast<std::uint32_t>(out[i]));
    file.require(token < layout.vocab_size,
                 "token " + std::to_string(first + static_cast<std::int64_t>(i)),
                 "below " + std::to_string(layout.vocab_size) + " (vocab_size)",
                 std::to_string(token), layout.remedy);
  }
}

}  // namespace

void read_packed(const MappedFile& file, const PackedLayout& layout, std::int64_t first,
                 std::span<std::int32_t> out) {
  if (layout.token_bytes == 2) {
    widen<std::uint16_t>(file, layout, first, out);
  } else {
    widen<std::uint32_t>(file, layout, first, out);
  }
}

}  // namespace strait::input
