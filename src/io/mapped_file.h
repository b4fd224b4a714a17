#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

namespace strait::io {

/// A file mapped read-only into memory. Owns the mapping; movable, the bytes do not move.
class MappedFile {
 public:
  /// Throws InputError naming the path when it is absent, unreadable or not a regular file.
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&&) = delete;

  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  std::span<const std::byte> bytes_;
};

}  // namespace strait::io
