#include "io/safetensors.h"

#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>
#include <type_traits>

#include "core/error.h"
#include "core/files.h"
#include "io/json_text.h"
#include "kernels/bf16.h"

namespace strait::io {
namespace {

namespace fs = std::filesystem;

static_assert(std::endian::native == std::endian::little);

constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;  // the format's own limit

/// Wrappers that give the 16-bit storage types a conversion to float.
struct Bf16 {
  std::uint16_t bits;
  operator float() const { return kernels::float_of_bf16(bits); }
};

struct F16 {
  std::uint16_t bits;
  operator float() const {
    const float sign = bits >> 15 ? -1.0f : 1.0f;
    const int exponent = bits >> 10 & 31;
    const int fraction = bits & 1023;
    if (exponent == 0) return sign * static_cast<float>(fraction) * 0x1.0p-24f;
    if (exponent == 31) {  // infinity and NaN keep their fraction bits
      const std::uint32_t wide = (bits & 0x8000u) << 16 | 0x7f800000u | (bits & 0x3ffu) << 13;
      return std::bit_cast<float>(wide);
    }
    const auto wide = static_cast<std::uint32_t>(exponent + 112) << 23 |
                      static_cast<std::uint32_t>(fraction) << 13 | (bits & 0x8000u) << 16;
    return std::bit_cast<float>(wide);
  }
};

/// The source may be unaligned, so elements are copied out one by one.
template <class From, class To>
void convert(const std::byte* from, std::span<To> out) {
  if constexpr (std::is_same_v<From, To>) {
    if (!out.empty()) std::memcpy(out.data(), from, out.size_bytes());
  } else {
    for (std::size_t i = 0; i < out.size(); ++i) {
      From value;
      std::memcpy(&value, from + i * sizeof(From), sizeof(From));
      if constexpr (std::is_same_v<From, Bf16> || std::is_same_v<From, F16>) {
        out[i] = static_cast<To>(static_cast<float>(value));
      } else {
        out[i] = static_cast<To>(value);
      }
    }
  }
}

/// False when `dtype` has no conversion to T.
template <class T>
bool convert_from(const std::string& dtype, const std::byte* from, std::span<T> out) {
  if constexpr (std::is_floating_point_v<T>) {
    if (dtype == "F64") return convert<double>(from, out), true;
    if (dtype == "F32") return convert<float>(from, out), true;
    if (dtype == "BF16") return convert<Bf16>(from, out), true;
    if (dtype == "F16") return convert<F16>(from, out), true;
  } else {
    if (dtype == "I64") return convert<std::int64_t>(from, out), true;
    if (dtype == "I32") return convert<std::int32_t>(from, out), true;
    if (dtype == "I16") return convert<std::int16_t>(from, out), true;
    if (dtype == "I8") return convert<std::int8_t>(from, out), true;
    if (dtype == "U32") return convert<std::uint32_t>(from, out), true;
    if (dtype == "U16") return convert<std::uint16_t>(from, out), true;
    if (dtype == "U8" || dtype == "BOOL") return convert<std::uint8_t>(from, out), true;
  }
  return false;
}

/// The length field and the header text of a file.
std::string_view header_text(std::span<const std::byte> file, const std::string& origin) {
  std::uint64_t length = 0;
  if (file.size() < sizeof(length)) {
    throw core::InputError(origin + ": " + std::to_string(file.size()) +
                           " bytes are too few for a safetensors file");
  }
  std::memcpy(&length, file.data(), sizeof(length));
  if (length > kMaxHeaderBytes || length > file.size() - sizeof(length)) {
    throw core::InputError(origin + ": header length " + std::to_string(length) +
                           " exceeds the file (" + std::to_string(file.size()) +
                           " bytes) or the limit of 100 MB; it is damaged or no safetensors file");
  }
  return {reinterpret_cast<const char*>(file.data()) + sizeof(length),
          static_cast<std::size_t>(length)};
}

/// tensor name -> shard file name, checked for plain file names.
std::map<std::string, std::string> read_index(const fs::path& index) {
  const nlohmann::json root = parse_json(core::read_file(index), index.string());
  const auto found = root.is_object() ? root.find("weight_map") : root.end();
  if (found == root.end() || !found->is_object()) {
    throw core::InputError(index.string() + ": has no object 'weight_map'");
  }
  std::map<std::string, std::string> files;
  for (const auto& [name, file] : found->items()) {
    const std::string shard = file.is_string() ? file.get<std::string>() : "";
    if (shard.empty() || shard != fs::path(shard).filename() || shard == "..") {
      throw core::InputError(index.string() + ": " + printable(name) + " must name a file of the " +
                             "same folder, got " +
                             printable(file.is_string() ? shard : "no string"));
    }
    files[name] = shard;
  }
  return files;
}

}  // namespace

SafetensorsReader::SafetensorsReader(const fs::path& path) : origin_(path.string()) {
  const fs::path single = path / "model.safetensors";
  const fs::path index = path / "model.safetensors.index.json";
  if (!fs::is_directory(path)) {
    add_file(path);
  } else if (fs::exists(single)) {
    add_file(single);
  } else if (fs::exists(index)) {
    add_shards(index);
  } else {
    throw core::InputError(origin_ + ": holds neither model.safetensors nor " +
                           "model.safetensors.index.json; a run gets them by ./export");
  }
}

void SafetensorsReader::add_file(const fs::path& path) {
  files_.emplace_back(path);
  const std::span<const std::byte> file = files_.back().bytes();
  const std::string_view text = header_text(file, path.string());
  const std::byte* data = file.data() + sizeof(std::uint64_t) + text.size();
  const std::uint64_t data_bytes = file.size() - sizeof(std::uint64_t) - text.size();
  SafetensorsHeader header = parse_safetensors_header(text, data_bytes, path.string());
  for (HeaderEntry& entry : header.entries) {
    const std::string name = entry.info.name;
    const auto [at, fresh] = tensors_.try_emplace(
        name, Located{std::move(entry.info), data + entry.begin, path.filename().string()});
    if (!fresh) {
      throw core::InputError(path.string() + ": " + printable(name) + " is also in " +
                             at->second.file);
    }
  }
  for (auto& [key, value] : header.metadata) metadata_[key] = value;
}

void SafetensorsReader::add_shards(const fs::path& index) {
  const std::map<std::string, std::string> files = read_index(index);
  std::set<std::string> shards;
  for (const auto& [name, file] : files) shards.insert(file);
  for (const std::string& shard : shards) add_file(index.parent_path() / shard);
  for (const auto& [name, file] : files) {
    const auto found = tensors_.find(name);
    if (found == tensors_.end() || found->second.file != file) {
      throw core::InputError(index.string() + ": " + printable(name) + " is not in " +
                             printable(file));
    }
  }
  for (const auto& [name, located] : tensors_) {
    if (files.count(name) == 0) {
      throw core::InputError(index.string() + ": does not list " + printable(name) + " of " +
                             located.file);
    }
  }
}

const SafetensorsReader::Located& SafetensorsReader::at(const std::string& name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) {
    throw core::InputError(origin_ + ": has no tensor " + printable(name));
  }
  return found->second;
}

std::vector<std::string> SafetensorsReader::names() const {
  std::vector<std::string> out;
  for (const auto& [name, located] : tensors_) out.push_back(name);
  return out;
}

std::span<const std::byte> SafetensorsReader::bytes(const std::string& name) const {
  const Located& tensor = at(name);
  return {tensor.data, tensor.info.bytes};
}

template <class T>
void SafetensorsReader::read_into(const std::string& name, std::span<T> out) const {
  const Located& tensor = at(name);
  const std::size_t count = tensor.info.bytes / safetensors_dtype_size(tensor.info.dtype);
  if (count != out.size()) {
    throw core::InputError(origin_ + ": " + printable(name) + " is " + describe(tensor.info) +
                           ", expected " + std::to_string(out.size()) + " elements");
  }
  if (!convert_from(tensor.info.dtype, tensor.data, out)) {
    const char* accepted = std::is_floating_point_v<T> ? "F64, F32, BF16 or F16" : "an integer";
    throw core::InputError(origin_ + ": " + printable(name) + " is " + describe(tensor.info) +
                           ", expected dtype " + accepted);
  }
}

template <class T>
std::vector<T> SafetensorsReader::read(const std::string& name) const {
  const TensorInfo& tensor = info(name);
  std::vector<T> out(tensor.bytes / safetensors_dtype_size(tensor.dtype));
  read_into(name, std::span<T>(out));
  return out;
}

template void SafetensorsReader::read_into(const std::string&, std::span<float>) const;
template void SafetensorsReader::read_into(const std::string&, std::span<double>) const;
template void SafetensorsReader::read_into(const std::string&, std::span<std::int64_t>) const;
template std::vector<float> SafetensorsReader::read(const std::string&) const;
template std::vector<double> SafetensorsReader::read(const std::string&) const;
template std::vector<std::int64_t> SafetensorsReader::read(const std::string&) const;

std::string describe(const std::vector<std::int64_t>& shape) {
  std::string out = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    out += (i ? ", " : "") + std::to_string(shape[i]);
  }
  return out + "]";
}

std::string describe(const TensorInfo& info) {
  return describe(info.shape) + " " + info.dtype;
}

}  // namespace strait::io
