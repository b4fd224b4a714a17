#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "core/tensor.h"

namespace strait::io {

/// A tensor to be written. `bytes` is asked once, when its turn comes, so that one staging buffer
/// can serve a whole model; the span it returns must live until the next tensor is asked for.
struct TensorSource {
  std::string name;
  std::string dtype = "F32";  // as the file names it
  std::vector<std::int64_t> shape;
  std::function<std::span<const std::byte>()> bytes;
};

/// Source over a contiguous tensor in host memory, which must outlive the write.
TensorSource host_source(std::string name, const ConstTensor& tensor);

/// Writes a safetensors file whole or not at all. Equal input gives equal bytes: tensors are laid
/// out by falling element size, then by name, so that each one is aligned to its elements and the
/// data to 8 bytes. Throws InputError on a name given twice or a source of the wrong size,
/// RuntimeFault when the file cannot be written.
void write_safetensors(const std::filesystem::path& path, std::vector<TensorSource> tensors,
                       const std::map<std::string, std::string>& metadata = {});

/// "F32" and so on. Every DType has one.
const char* safetensors_dtype(DType dtype);

}  // namespace strait::io
