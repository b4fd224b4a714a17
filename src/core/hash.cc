#include "core/hash.h"

#include <fstream>
#include <vector>

#include "core/error.h"

#if defined(__GNUC__) && !defined(__clang__)
// GCC 12 takes the AVX-512 intrinsics of xxHash for uses of a variable without a value.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#define XXH_INLINE_ALL
#include <xxhash.h>

namespace strait::core {

std::uint64_t hash_of(std::span<const std::byte> bytes) {
  return XXH3_64bits(bytes.data(), bytes.size());
}

std::uint64_t hash_of(std::string_view text) {
  return hash_of(std::as_bytes(std::span(text)));
}

std::string hash_text(std::uint64_t hash) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string text(16, '0');
  for (std::size_t i = 0; i < text.size(); ++i) text[15 - i] = kHex[hash >> (4 * i) & 15];
  return text;
}

struct Hasher::State {
  XXH3_state_t xxh;
};

Hasher::Hasher() : state_(std::make_unique<State>()) {
  XXH3_64bits_reset(&state_->xxh);
}

Hasher::~Hasher() = default;

void Hasher::add(std::span<const std::byte> bytes) {
  XXH3_64bits_update(&state_->xxh, bytes.data(), bytes.size());
}

std::uint64_t Hasher::hash() const {
  return XXH3_64bits_digest(&state_->xxh);
}

std::uint64_t hash_of_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::vector<char> block(std::size_t{1} << 20);
  Hasher hasher;
  while (in) {
    in.read(block.data(), static_cast<std::streamsize>(block.size()));
    hasher.add(std::as_bytes(std::span(block).first(static_cast<std::size_t>(in.gcount()))));
  }
  if (!in.eof()) throw RuntimeFault(path.string() + ": cannot be read back");
  return hasher.hash();
}

}  // namespace strait::core
