#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

// Hashes that tell whether bytes are what they were (XXH3, 64 bits).
namespace strait::core {

std::uint64_t hash_of(std::span<const std::byte> bytes);
std::uint64_t hash_of(std::string_view text);
/// Of a file, read block by block. Throws RuntimeFault when it cannot be read.
std::uint64_t hash_of_file(const std::filesystem::path& path);

/// 16 hexadecimal digits.
std::string hash_text(std::uint64_t hash);

/// The hash of bytes that come in pieces.
class Hasher {
 public:
  Hasher();
  ~Hasher();

  void add(std::span<const std::byte> bytes);
  std::uint64_t hash() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace strait::core
