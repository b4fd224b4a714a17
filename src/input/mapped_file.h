#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace strait::input {

/// A file of tokens mapped into memory, read only. Nothing is loaded but the pages touched.
class MappedFile {
 public:
  /// Throws InputError when the path is not a regular file that can be read.
  explicit MappedFile(std::filesystem::path path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::uint64_t size() const { return size_; }

  /// Bytes [offset, offset + count). Throws InputError when the file has shrunk below that since it
  /// was opened: touching the mapping would be a crash.
  std::span<const unsigned char> bytes(std::uint64_t offset, std::uint64_t count) const;

  /// Copies the first sizeof(Header) bytes. Throws InputError when there are fewer.
  template <class Header>
  Header header(std::string_view what) const {
    require(size_ >= sizeof(Header), "length", std::to_string(sizeof(Header)) + " bytes or more",
            std::to_string(size_), "not " + std::string(what) + ", or cut short");
    Header header;
    std::copy_n(bytes(0, sizeof header).data(), sizeof header,
                reinterpret_cast<unsigned char*>(&header));
    return header;
  }

  /// Throws InputError "path: field: expected .., got ..; remedy" unless `ok`.
  void require(bool ok, std::string_view field, const std::string& expected, const std::string& got,
               const std::string& remedy) const;

 private:
  std::filesystem::path path_;
  int file_ = -1;
  std::uint64_t size_ = 0;
  const unsigned char* data_ = nullptr;
};

/// Bytes in quotes for a message: a hostile header cannot write control codes to the terminal.
std::string quoted(std::string_view bytes);

}  // namespace strait::input
