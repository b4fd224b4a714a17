#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

// The JSON header of a safetensors file (https://huggingface.co/docs/safetensors).
namespace strait::io {

struct TensorInfo {
  std::string name;
  std::string dtype;                // as in the file: "F64", "F32", "BF16", ...
  std::vector<std::int64_t> shape;  // empty: a scalar
  std::size_t bytes = 0;
};

struct HeaderEntry {
  TensorInfo info;
  std::uint64_t begin = 0;  // bytes from the start of the data
};

struct SafetensorsHeader {
  std::vector<HeaderEntry> entries;  // in the order of their data
  std::map<std::string, std::string> metadata;
};

/// Bytes of one element of a safetensors dtype; 0 for an unknown one.
std::size_t safetensors_dtype_size(std::string_view dtype);

/// Parses and checks a header against the size of the data behind it: after this every tensor lies
/// inside the data, has the size of its shape and dtype, and the tensors fill the data without gap
/// or overlap. Throws InputError that starts with `origin`.
SafetensorsHeader parse_safetensors_header(std::string_view text, std::uint64_t data_bytes,
                                           const std::string& origin);

}  // namespace strait::io
