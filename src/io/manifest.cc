#include "io/manifest.h"

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "core/hash.h"
#include "io/json_text.h"
#include "io/mapped_file.h"
#include "io/safetensors_header.h"

namespace strait::io {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using nlohmann::ordered_json;

constexpr std::int64_t kFormat = 2;
constexpr std::string_view kChecksumOpen = ",\n  \"checksum\": \"xxh3:";
constexpr std::string_view kChecksumClose = "\"\n}\n";
constexpr const char* kRng =
    "Philox4x32-10, counter-based: seed, stream name and index give every number";

/// Typed access with the file's name in every complaint.
template <class T>
T field(const json& root, const char* key, const std::string& origin) {
  const auto found = root.is_object() ? root.find(key) : root.end();
  bool fits = found != root.end();
  if constexpr (std::is_same_v<T, std::string>) {
    fits = fits && found->is_string();
  } else if constexpr (std::is_same_v<T, std::int64_t>) {
    fits = fits && found->is_number_integer() &&
           (!found->is_number_unsigned() || found->template get<std::uint64_t>() <= INT64_MAX);
  } else {
    fits = fits && found->is_array();
    for (std::size_t i = 0; fits && i < found->size(); ++i) {
      fits = found->at(i).is_number_unsigned() &&
             found->at(i).template get<std::uint64_t>() <= static_cast<std::uint64_t>(INT64_MAX);
    }
  }
  if (!fits) {
    const char* kind = std::is_same_v<T, std::string>    ? " as a string"
                       : std::is_same_v<T, std::int64_t> ? " as an integer"
                                                         : " as a list of sizes";
    throw core::InputError(origin + ": needs " + printable(key) + kind);
  }
  return found->template get<T>();
}

const json& object(const json& root, const char* key, const std::string& origin) {
  const auto found = root.is_object() ? root.find(key) : root.end();
  if (found == root.end() || !found->is_object()) {
    throw core::InputError(origin + ": needs " + printable(key) + " as an object");
  }
  return *found;
}

ordered_json files_json(const Manifest& manifest) {
  ordered_json out = ordered_json::object();
  for (const auto& [name, file] : manifest.files) {
    out[name] = {{"bytes", file.bytes}, {"xxh3", file.hash}};
  }
  return out;
}

ordered_json tensors_json(const Manifest& manifest) {
  ordered_json out = ordered_json::object();
  for (const auto& [name, tensor] : manifest.tensors) {
    ordered_json pieces = ordered_json::array();
    for (const StoredPiece& stored : tensor.pieces) {
      ordered_json entry{{"file", stored.file}, {"key", stored.key}};
      if (stored.piece != whole_piece(tensor.shape)) {
        entry["offset"] = stored.piece.offset;
        entry["shape"] = stored.piece.shape;
        entry["range"] = {stored.piece.begin, stored.piece.end};
      }
      pieces.push_back(entry);
    }
    out[name] = {{"dtype", tensor.dtype}, {"shape", tensor.shape}, {"pieces", pieces}};
  }
  return out;
}

std::string file_name(const json& root, const char* key, const std::string& origin) {
  const std::string name = field<std::string>(root, key, origin);
  if (name.empty() || fs::path(name).filename() != name || name == ".." || name == ".") {
    throw core::InputError(origin + ": " + printable(name) +
                           " is not the name of a file beside it");
  }
  return name;
}

Piece parse_piece(const json& entry, const std::vector<std::int64_t>& shape,
                  const std::string& origin) {
  using Sizes = std::vector<std::int64_t>;
  if (!entry.contains("offset")) return whole_piece(shape);
  Piece piece{field<Sizes>(entry, "offset", origin), field<Sizes>(entry, "shape", origin), 0, 0};
  const Sizes range = field<Sizes>(entry, "range", origin);
  if (range.size() != 2) throw core::InputError(origin + ": needs two numbers in 'range'");
  piece.begin = range[0];
  piece.end = range[1];
  return piece;
}

/// Files and tensors of one text are added to the manifest's.
void parse_contents(const json& root, Manifest& manifest, const std::string& origin) {
  for (const auto& [name, file] : object(root, "files", origin).items()) {
    if (fs::path(name).filename() != name || name == "..") {
      throw core::InputError(origin + ": " + printable(name) + " is not the name of a file");
    }
    manifest.files[name] = {field<std::int64_t>(file, "bytes", origin),
                            field<std::string>(file, "xxh3", origin)};
  }
  for (const auto& [name, entry] : object(root, "tensors", origin).items()) {
    const std::string where = origin + ": " + printable(name);
    StoredTensor& tensor = manifest.tensors[name];
    tensor.dtype = field<std::string>(entry, "dtype", where);
    tensor.shape = field<std::vector<std::int64_t>>(entry, "shape", where);
    const auto pieces = entry.find("pieces");
    if (pieces == entry.end() || !pieces->is_array() || tensor.shape.empty()) {
      throw core::InputError(where + ": needs a shape and 'pieces' as a list");
    }
    std::int64_t room = 1;
    for (const std::int64_t size : tensor.shape) {
      if (__builtin_mul_overflow(room, size, &room)) {
        throw core::InputError(where + ": its shape has more elements than can be counted");
      }
    }
    for (const json& piece : *pieces) {
      tensor.pieces.push_back({file_name(piece, "file", where),
                               field<std::string>(piece, "key", where),
                               parse_piece(piece, tensor.shape, where)});
      check_piece(tensor.pieces.back().piece, tensor.shape, where);
    }
  }
}

/// The text without its checksum, which must be there and right.
std::string without_checksum(const std::string& text, const std::string& origin) {
  constexpr std::size_t kDigits = 16;
  const std::size_t tail = kChecksumOpen.size() + kDigits + kChecksumClose.size();
  const std::size_t at = text.size() < tail ? 0 : text.size() - tail;
  const bool shaped = text.size() >= tail &&
                      text.compare(at, kChecksumOpen.size(), kChecksumOpen) == 0 &&
                      text.ends_with(kChecksumClose);
  if (!shaped) throw core::InputError(origin + ": has no checksum at its end; it is not whole");
  const std::string body = text.substr(0, at);
  if (text.compare(at + kChecksumOpen.size(), kDigits, core::hash_text(core::hash_of(body))) != 0) {
    throw core::InputError(origin + ": differs from its checksum; it was changed or damaged");
  }
  return body + "\n}\n";
}

}  // namespace

std::string manifest_text(const Manifest& manifest) {
  const CheckpointState& state = manifest.state;
  const ordered_json root{{"format", kFormat},
                          {"step", state.step},
                          {"tokens", state.tokens},
                          {"batches", state.batches},
                          {"metrics_bytes", state.metrics_bytes},
                          {"seed", state.seed},
                          {"rng", kRng},
                          {"world_size", state.world_size},
                          {"revision", state.revision},
                          {"data", state.data},
                          {"files", files_json(manifest)},
                          {"tensors", tensors_json(manifest)},
                          {"config", state.config}};
  std::string text = root.dump(1);
  text.resize(text.size() - 2);  // "\n}"
  const std::string hash = core::hash_text(core::hash_of(text));
  return text + std::string(kChecksumOpen) + hash + std::string(kChecksumClose);
}

Manifest parse_manifest(const std::string& text, const std::string& origin) {
  const json root = parse_json(without_checksum(text, origin), origin);
  const auto format = field<std::int64_t>(root, "format", origin);
  if (format != kFormat) {
    throw core::InputError(origin + ": format " + std::to_string(format) + ", this program reads " +
                           std::to_string(kFormat));
  }
  Manifest manifest;
  manifest.state = {.step = field<std::int64_t>(root, "step", origin),
                    .tokens = field<std::int64_t>(root, "tokens", origin),
                    .batches = field<std::int64_t>(root, "batches", origin),
                    .metrics_bytes = field<std::int64_t>(root, "metrics_bytes", origin),
                    .seed = field<std::int64_t>(root, "seed", origin),
                    .world_size = field<std::int64_t>(root, "world_size", origin),
                    .revision = field<std::string>(root, "revision", origin),
                    .data = field<std::string>(root, "data", origin),
                    .config = field<std::string>(root, "config", origin)};
  parse_contents(root, manifest, origin);
  for (const auto& [name, tensor] : manifest.tensors) {
    for (const StoredPiece& stored : tensor.pieces) {
      if (manifest.files.contains(stored.file)) continue;
      throw core::InputError(origin + ": " + printable(name) + " lies in " +
                             printable(stored.file) + ", which 'files' lacks");
    }
  }
  return manifest;
}

std::string manifest_part(const Manifest& part) {
  return ordered_json{{"files", files_json(part)}, {"tensors", tensors_json(part)}}.dump();
}

void merge_part(Manifest& manifest, const std::string& part) {
  parse_contents(parse_json(part, "a rank's part of the manifest"), manifest, "a rank's part");
}

Manifest read_manifest(const fs::path& folder) {
  const fs::path path = folder / kManifestFile;
  if (!fs::exists(path)) {
    throw core::InputError(folder.string() + ": no " + kManifestFile +
                           ", the save was interrupted");
  }
  Manifest manifest = parse_manifest(core::read_file(path), path.string());
  for (const auto& [name, file] : manifest.files) {
    std::error_code absent;
    const std::uintmax_t size = fs::file_size(folder / name, absent);
    if (absent) throw core::InputError(folder.string() + ": " + name + " is missing");
    if (size != static_cast<std::uintmax_t>(file.bytes)) {
      throw core::InputError(folder.string() + ": " + name + " has " + std::to_string(size) +
                             " bytes, " + kManifestFile + " says " + std::to_string(file.bytes));
    }
  }
  return manifest;
}

void verify_files(const fs::path& folder, const Manifest& manifest) {
  for (const auto& [name, file] : manifest.files) {
    const MappedFile mapped(folder / name);
    if (core::hash_text(core::hash_of(mapped.bytes())) == file.hash) continue;
    throw core::InputError((folder / name).string() +
                           ": differs from its hash in the manifest; it was changed or damaged");
  }
}

}  // namespace strait::io
