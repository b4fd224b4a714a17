#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "io/mapped_file.h"
#include "io/safetensors_header.h"

// Reading tensors in the safetensors format, one file or a sharded folder. Nothing a file says is
// believed unchecked: whatever is wrong with it is an InputError naming file, tensor and values.
namespace strait::io {

/// Owns read-only mappings of the files; spans it hands out live as long as the reader.
class SafetensorsReader {
 public:
  /// `path` is a .safetensors file, or a folder with model.safetensors or, sharded,
  /// model.safetensors.index.json (whose weight map must agree with the shards exactly).
  explicit SafetensorsReader(const std::filesystem::path& path);

  /// Sorted by name.
  std::vector<std::string> names() const;
  bool contains(const std::string& name) const { return tensors_.count(name) > 0; }
  const TensorInfo& info(const std::string& name) const { return at(name).info; }
  /// The stored bytes, little-endian, row-major. No alignment is promised.
  std::span<const std::byte> bytes(const std::string& name) const;

  /// Converts to T. float, double: from F64, F32, BF16, F16. int64: from every integer and BOOL.
  /// `out` must hold the tensor exactly.
  template <class T>
  void read_into(const std::string& name, std::span<T> out) const;
  template <class T>
  std::vector<T> read(const std::string& name) const;

  /// Free-form strings of the files (__metadata__); shards later in the alphabet win.
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const std::string& origin() const { return origin_; }

 private:
  struct Located {
    TensorInfo info;
    const std::byte* data = nullptr;
    std::string file;
  };
  void add_file(const std::filesystem::path& path);
  void add_shards(const std::filesystem::path& index);
  const Located& at(const std::string& name) const;

  std::string origin_;
  std::vector<MappedFile> files_;
  std::map<std::string, Located> tensors_;
  std::map<std::string, std::string> metadata_;
};

/// "[2, 3] F32", for messages.
std::string describe(const std::vector<std::int64_t>& shape);
std::string describe(const TensorInfo& info);

}  // namespace strait::io
