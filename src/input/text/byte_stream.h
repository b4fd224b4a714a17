#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>

namespace strait::input {

/// Bytes of a file from its begin to its end, decompressed if need be, in constant memory.
class ByteStream {
 public:
  virtual ~ByteStream() = default;
  /// Up to `capacity` bytes into `out`; 0 at the end. Throws InputError naming the file when it
  /// cannot be read, or its compressed data are damaged or cut short.
  virtual std::size_t read(char* out, std::size_t capacity) = 0;
  /// Bytes of the file taken in so far, as they lie on disk.
  virtual std::uint64_t consumed() const = 0;
};

/// Opens a plain, xz or zstd file, told apart by its magic. Throws InputError.
std::unique_ptr<ByteStream> open_bytes(const std::filesystem::path& path);

}  // namespace strait::input
