#include "io/checkpoint.h"

#include <map>
#include <memory>
#include <set>

#include "core/error.h"
#include "io/checkpoint_folder.h"
#include "io/held.h"
#include "io/json_text.h"
#include "io/part_copy.h"
#include "io/safetensors.h"
#include "io/safetensors_writer.h"

namespace strait::io {
namespace {

namespace fs = std::filesystem;

/// Tensors of a checkpoint, put together from their pieces.
class CheckpointReader {
 public:
  /// Throws InputError unless every byte is as it was written and the pieces are where the manifest
  /// says.
  explicit CheckpointReader(const fs::path& folder)
      : origin_(folder.string()), manifest_(read_manifest(folder)) {
    verify_files(folder, manifest_);
    for (const auto& [name, file] : manifest_.files) {
      files_[name] = std::make_unique<SafetensorsReader>(folder / name);
    }
    for (const auto& [name, tensor] : manifest_.tensors) check_pieces(name, tensor);
  }

  /// The tensors of `lists` are there, the first difference is an error.
  void check(const std::vector<const std::vector<Held>*>& lists) const {
    for (const std::vector<Held>* list : lists) {
      for (const Held& held : *list) {
        check_one(held);
      }
    }
  }

  /// There are no others but those of `names`.
  void check_names(const std::set<std::string>& names) const {
    for (const auto& [name, tensor] : manifest_.tensors) {
      if (!names.contains(name)) differ("holds " + printable(name) + ", which the model lacks");
    }
  }

  void fill(const std::vector<Held>& list, const Stream& stream) const {
    std::vector<std::byte> host;
    for (const Held& held : list) {
      host.assign(held.view.bytes(), std::byte{0});
      std::int64_t filled = 0;
      for (const StoredPiece& stored : manifest_.tensors.at(held.name).pieces) {
        filled +=
            copy_common(stored.piece, bytes(stored), held.piece, host, size_of(held.view.dtype));
      }
      if (filled != held.piece.elements()) {
        differ("holds " + std::to_string(filled) + " of the " +
               std::to_string(held.piece.elements()) + " elements of " + held.name);
      }
      copy_host_to_view(host, held.view, stream);
    }
  }

 private:
  [[noreturn]] void differ(const std::string& what) const {
    throw core::InputError(origin_ + ": " + what +
                           "; resume with the model the checkpoint was made with");
  }

  std::span<const std::byte> bytes(const StoredPiece& stored) const {
    return files_.at(stored.file)->bytes(stored.key);
  }

  void check_one(const Held& held) const {
    const std::string want = describe(held.shape) + " " + safetensors_dtype(held.view.dtype);
    const auto found = manifest_.tensors.find(held.name);
    if (found == manifest_.tensors.end()) differ("has no tensor " + held.name + ", " + want);
    const std::string got = describe(found->second.shape) + " " + found->second.dtype;
    if (got != want) differ(held.name + " is " + got + ", the model has " + want);
  }

  void check_pieces(const std::string& name, const StoredTensor& tensor) const {
    std::int64_t held = 0, all = 1;
    for (const std::int64_t size : tensor.shape) all *= size;
    for (const StoredPiece& stored : tensor.pieces) {
      const SafetensorsReader& file = *files_.at(stored.file);
      const auto elements = static_cast<std::size_t>(stored.piece.elements());
      const bool fits =
          file.contains(stored.key) && file.info(stored.key).dtype == tensor.dtype &&
          file.info(stored.key).bytes == elements * safetensors_dtype_size(tensor.dtype);
      if (!fits) {
        throw core::InputError(file.origin() + ": has no " + printable(stored.key) + " of " +
                               std::to_string(elements) + " " + tensor.dtype + ", which " +
                               kManifestFile + " says of " + printable(name));
      }
      held += stored.piece.elements();
    }
    if (held == all) return;
    throw core::InputError(origin_ + ": holds " + std::to_string(held) + " of the " +
                           std::to_string(all) + " elements of " + printable(name));
  }

  std::string origin_;
  Manifest manifest_;
  std::map<std::string, std::unique_ptr<SafetensorsReader>> files_;
};

/// Every tensor that a checkpoint of the table may hold; which states those parameters have that
/// other ranks keep, their keepers know.
std::set<std::string> names_of(const core::ParamTable& table, const std::vector<Held>& states) {
  std::set<std::string> names;
  for (const Held& held : states) names.insert(held.name);
  for (const core::Part& part : table.parts()) {
    names.insert(part.name);
    if (!part.param->spec.trainable || part.param->owned()) continue;
    for (const char* state : {".adam_m", ".adam_v", ".momentum"}) names.insert(part.name + state);
  }
  return names;
}

/// A run that goes on meanwhile makes new checkpoints and removes old ones.
constexpr int kAttempts = 10;

/// find_checkpoint, once; `vanished`: a folder was removed while it was looked at.
FoundCheckpoint look_for_checkpoint(const fs::path& checkpoints, bool verify, bool& vanished) {
  FoundCheckpoint found;
  for (const StepFolder& folder : list_step_folders(checkpoints)) {
    try {
      const Manifest manifest = read_manifest(folder.path);
      if (verify) verify_files(folder.path, manifest);
      found.folder = folder.path;
      return found;
    } catch (const core::InputError& error) {
      vanished = vanished || !fs::exists(folder.path);
      found.skipped.push_back(error.what());
    }
  }
  return found;
}

}  // namespace

FoundCheckpoint find_checkpoint(const fs::path& checkpoints, bool verify) {
  for (int attempt = 1;; ++attempt) {
    bool vanished = false;
    FoundCheckpoint found = look_for_checkpoint(checkpoints, verify, vanished);
    if (!vanished || attempt == kAttempts) return found;
  }
}

fs::path load_newest_weights(const fs::path& checkpoints, core::ParamTable& table,
                             const Stream& stream) {
  for (int attempt = 1;; ++attempt) {
    const FoundCheckpoint found = find_checkpoint(checkpoints);
    if (!found.folder) {
      std::string why;
      for (const std::string& reason : found.skipped) why += "\n  " + reason;
      throw core::InputError(checkpoints.string() + ": holds no complete checkpoint" + why);
    }
    try {
      load_weights(*found.folder, table, stream);
      return *found.folder;
    } catch (const core::InputError&) {
      if (fs::exists(*found.folder) || attempt == kAttempts) throw;
    }
  }
}

CheckpointState read_checkpoint_state(const fs::path& folder) {
  return read_manifest(folder).state;
}

void load_checkpoint(const fs::path& folder, core::ParamTable& table, const Stream& stream) {
  const CheckpointReader reader(folder);
  const std::vector<Held> weights = held_weights(table), states = held_states(table);
  reader.check({&weights, &states});
  reader.check_names(names_of(table, states));
  reader.fill(weights, stream);
  reader.fill(states, stream);
  table.refresh_weights(stream);
}

void load_weights(const fs::path& folder, core::ParamTable& table, const Stream& stream) {
  const CheckpointReader reader(folder);
  const std::vector<Held> weights = held_weights(table);
  reader.check({&weights});
  reader.fill(weights, stream);
  table.refresh_weights(stream);
}

}  // namespace strait::io
