#include "io/safetensors_writer.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <ostream>
#include <tuple>

#include "core/error.h"
#include "core/files.h"
#include "io/json_text.h"
#include "io/safetensors_header.h"

namespace strait::io {
namespace {

std::size_t byte_size(const TensorSource& tensor) {
  std::size_t bytes = safetensors_dtype_size(tensor.dtype);
  for (const std::int64_t size : tensor.shape) bytes *= static_cast<std::size_t>(size);
  return bytes;
}

/// Header text, padded with spaces so that the data behind it starts at a multiple of 8.
std::string header_of(const std::vector<TensorSource>& tensors,
                      const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::size_t begin = 0;
  for (const TensorSource& tensor : tensors) {
    const std::size_t end = begin + byte_size(tensor);
    header[tensor.name] = {
        {"dtype", tensor.dtype}, {"shape", tensor.shape}, {"data_offsets", {begin, end}}};
    begin = end;
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  return text;
}

void write_data(std::ostream& out, const TensorSource& tensor) {
  const std::span<const std::byte> data = tensor.bytes();
  if (data.size() != byte_size(tensor)) {
    throw core::InputError("tensor " + printable(tensor.name) + ": shape and dtype need " +
                           std::to_string(byte_size(tensor)) + " bytes, got " +
                           std::to_string(data.size()));
  }
  out.write(reinterpret_cast<const char*>(data.data()), static_cast<std::streamsize>(data.size()));
}

}  // namespace

const char* safetensors_dtype(DType dtype) {
  switch (dtype) {
    case DType::f64:
      return "F64";
    case DType::f32:
      return "F32";
    case DType::bf16:
      return "BF16";
    case DType::i64:
      return "I64";
    case DType::i32:
      return "I32";
    case DType::u8:
      return "U8";
  }
  return "?";
}

TensorSource host_source(std::string name, const ConstTensor& tensor) {
  if (!tensor.contiguous()) {
    throw core::InputError("tensor " + printable(name) + ": must be contiguous to be written");
  }
  TensorSource source{
      .name = std::move(name), .dtype = safetensors_dtype(tensor.dtype), .shape = {}, .bytes = {}};
  source.shape.assign(tensor.shape.begin(), tensor.shape.begin() + tensor.rank);
  source.bytes = [tensor] {
    return std::span(static_cast<const std::byte*>(tensor.data), tensor.bytes());
  };
  return source;
}

void write_safetensors(const std::filesystem::path& path, std::vector<TensorSource> tensors,
                       const std::map<std::string, std::string>& metadata) {
  std::sort(tensors.begin(), tensors.end(), [](const TensorSource& a, const TensorSource& b) {
    const std::size_t size_a = safetensors_dtype_size(a.dtype);
    const std::size_t size_b = safetensors_dtype_size(b.dtype);
    return std::tie(size_b, a.name) < std::tie(size_a, b.name);
  });
  std::map<std::string, int> names;
  for (const TensorSource& tensor : tensors) {
    if (tensor.name == "__metadata__" || names[tensor.name]++ > 0) {
      throw core::InputError("tensor " + printable(tensor.name) +
                             ": the name is reserved or given twice");
    }
  }
  const std::string header = header_of(tensors, metadata);
  core::write_file_atomically(path, [&](std::ostream& out) {
    const std::uint64_t length = header.size();
    out.write(reinterpret_cast<const char*>(&length), sizeof(length));
    out << header;
    for (const TensorSource& tensor : tensors) write_data(out, tensor);
  });
}

}  // namespace strait::io
