#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "io/piece.h"

// What a checkpoint holds: manifest.json, written last. Its own last line is a hash of the rest.
namespace strait::io {

inline constexpr const char* kManifestFile = "manifest.json";

/// What a run must know besides tensors to go on as if it had never stopped.
struct CheckpointState {
  std::int64_t step = 0;           // optimizer steps done
  std::int64_t tokens = 0;         // tokens trained on, over all ranks
  std::int64_t batches = 0;        // batches of the data used up, those that were skipped included
  std::int64_t metrics_bytes = 0;  // length of metrics.jsonl at this step
  std::int64_t seed = 0;
  std::int64_t world_size = 1;  // ranks that wrote it; another number may resume it
  std::string revision;         // of the program
  std::string data;             // fingerprint of the training tokens; empty: not known
  std::string config;           // the resolved config as text, for the trainer to compare

  bool operator==(const CheckpointState&) const = default;
};

struct FileRecord {
  std::int64_t bytes = 0;
  std::string hash;
};

/// Where a file holds a piece of a tensor: under its name, or with "@rank.n" behind it.
struct StoredPiece {
  std::string file, key;
  Piece piece;
};

struct StoredTensor {
  std::string dtype;  // as in the files
  std::vector<std::int64_t> shape;
  std::vector<StoredPiece> pieces;
};

struct Manifest {
  CheckpointState state;
  std::map<std::string, FileRecord> files;
  std::map<std::string, StoredTensor> tensors;
};

/// The text of the file, and the way back, which believes nothing: InputErrors start with `origin`.
std::string manifest_text(const Manifest& manifest);
Manifest parse_manifest(const std::string& text, const std::string& origin);

/// The part of a manifest that one rank writes (files and tensors), to be sent to another, and
/// `manifest` with it.
std::string manifest_part(const Manifest& part);
void merge_part(Manifest& manifest, const std::string& part);

/// Reads the manifest and compares the sizes of the files with it. Throws InputError when the
/// folder is no complete checkpoint, saying what is missing.
Manifest read_manifest(const std::filesystem::path& folder);

/// Reads every file and compares its hash. Throws InputError naming the first that differs.
void verify_files(const std::filesystem::path& folder, const Manifest& manifest);

}  // namespace strait::io
