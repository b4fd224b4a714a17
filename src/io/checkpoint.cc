#include "io/checkpoint.h"

#include <map>
#include <nlohmann/json.hpp>
#include <ostream>

#include "core/error.h"
#include "core/files.h"
#include "io/checkpoint_folder.h"
#include "io/json_text.h"
#include "io/part_copy.h"
#include "io/safetensors.h"
#include "io/safetensors_writer.h"

namespace strait::io {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr int kFormat = 1;

/// One tensor of the table and the name a checkpoint gives it.
struct Slot {
  std::string name;
  Tensor view;
};

std::vector<Slot> weight_slots(const core::ParamTable& table) {
  std::vector<Slot> slots;
  for (const core::Part& part : table.parts()) {
    slots.push_back({part.name, whole_view(part, part.param->master)});
  }
  return slots;
}

std::vector<Slot> optimizer_slots(const core::ParamTable& table) {
  std::vector<Slot> slots;
  for (const core::Part& part : table.parts()) {
    if (!part.param->spec.trainable) continue;
    const core::Param& param = *part.param;
    const bool single = !param.adam_v.defined();
    slots.push_back(
        {part.name + (single ? ".momentum" : ".adam_m"), whole_view(part, param.adam_m)});
    if (!single) slots.push_back({part.name + ".adam_v", whole_view(part, param.adam_v)});
  }
  return slots;
}

void write_slots(const fs::path& path, const std::vector<Slot>& slots, const Stream& stream) {
  std::vector<std::byte> staging;
  std::vector<TensorSource> sources;
  for (const Slot& slot : slots) {
    sources.push_back({slot.name, slot.view.dtype, shape_of(slot.view), [&] {
                         staging.resize(slot.view.bytes());
                         copy_view_to_host(slot.view, staging, stream);
                         return std::span<const std::byte>(staging);
                       }});
  }
  write_safetensors(path, std::move(sources), {{"format", "strait"}});
}

/// The file holds exactly these slots; the first difference is an error.
void check_slots(const SafetensorsReader& reader, const std::vector<Slot>& slots) {
  const auto differ = [&](const std::string& what) {
    throw core::InputError(reader.origin() + ": " + what +
                           "; resume with the model the checkpoint was made with");
  };
  std::map<std::string, const Slot*> expected;
  for (const Slot& slot : slots) {
    expected[slot.name] = &slot;
    const std::string want =
        describe(shape_of(slot.view)) + " " + safetensors_dtype(slot.view.dtype);
    if (!reader.contains(slot.name)) differ("has no tensor " + slot.name + ", " + want);
    const std::string got = describe(reader.info(slot.name));
    if (got != want) differ(slot.name + " is " + got + ", the model has " + want);
  }
  for (const std::string& name : reader.names()) {
    if (expected.count(name) == 0) differ("holds " + printable(name) + ", which the model lacks");
  }
}

void read_slots(const SafetensorsReader& reader, const std::vector<Slot>& slots,
                const Stream& stream) {
  for (const Slot& slot : slots) copy_host_to_view(reader.bytes(slot.name), slot.view, stream);
}

void write_state(const fs::path& folder, const CheckpointState& state) {
  json files = json::object();
  for (const char* file : {kModelFile, kOptimizerFile}) files[file] = fs::file_size(folder / file);
  const nlohmann::ordered_json root{
      {"format", kFormat},
      {"step", state.step},
      {"tokens", state.tokens},
      {"metrics_bytes", state.metrics_bytes},
      {"seed", state.seed},
      {"rng", "Philox4x32-10, counter-based: seed, stream name and index give every number"},
      {"world_size", state.world_size},
      {"revision", state.revision},
      {"data", state.data},
      {"files", files},
      {"config", state.config},
  };
  core::write_file_atomically(folder / kStateFile,
                              [&](std::ostream& out) { out << root.dump(2) << "\n"; });
}

/// Typed access to state.json with the file's name in every complaint.
template <class T>
T field(const json& root, const char* key, const std::string& origin) {
  const auto found = root.is_object() ? root.find(key) : root.end();
  const bool fits =
      found != root.end() &&
      (std::is_same_v<T, std::string> ? found->is_string() : found->is_number_integer());
  if (!fits) {
    throw core::InputError(origin + ": needs " + printable(key) +
                           (std::is_same_v<T, std::string> ? " as a string" : " as an integer"));
  }
  return found->get<T>();
}

void check_files(const fs::path& folder, const json& root, const std::string& origin) {
  for (const char* file : {kModelFile, kOptimizerFile}) {
    const json files = root.contains("files") ? root.at("files") : json();
    const auto bytes = field<std::int64_t>(files, file, origin);
    std::error_code absent;
    const std::uintmax_t size = fs::file_size(folder / file, absent);
    if (absent) throw core::InputError(folder.string() + ": " + file + " is missing");
    if (size != static_cast<std::uintmax_t>(bytes)) {
      throw core::InputError(folder.string() + ": " + file + " has " + std::to_string(size) +
                             " bytes, " + kStateFile + " says " + std::to_string(bytes));
    }
  }
}

/// Why a folder cannot be used, or nothing.
std::string defect_of(const fs::path& folder) {
  try {
    read_checkpoint_state(folder);
    return "";
  } catch (const core::InputError& error) {
    return error.what();
  }
}

}  // namespace

fs::path save_checkpoint(const fs::path& checkpoints, const core::ParamTable& table,
                         const CheckpointState& state, std::int64_t keep, const Stream& stream) {
  try {
    const auto write = [&](const fs::path& folder) {
      write_slots(folder / kModelFile, weight_slots(table), stream);
      write_slots(folder / kOptimizerFile, optimizer_slots(table), stream);
      write_state(folder, state);
    };
    const fs::path folder = publish_step_folder(checkpoints, state.step, write);
    prune_step_folders(checkpoints, keep, folder,
                       [](const fs::path& path) { return defect_of(path).empty(); });
    return folder;
  } catch (const fs::filesystem_error& error) {
    throw core::RuntimeFault(checkpoints.string() + ": cannot save a checkpoint: " + error.what());
  }
}

FoundCheckpoint find_checkpoint(const fs::path& checkpoints) {
  FoundCheckpoint found;
  for (const StepFolder& folder : list_step_folders(checkpoints)) {
    const std::string defect = defect_of(folder.path);
    if (defect.empty()) {
      found.folder = folder.path;
      break;
    }
    found.skipped.push_back(defect);
  }
  return found;
}

CheckpointState read_checkpoint_state(const fs::path& folder) {
  const std::string origin = (folder / kStateFile).string();
  if (!fs::exists(folder / kStateFile)) {
    throw core::InputError(folder.string() + ": no " + kStateFile + ", the save was interrupted");
  }
  const json root = parse_json(core::read_file(folder / kStateFile), origin);
  const auto format = field<std::int64_t>(root, "format", origin);
  if (format != kFormat) {
    throw core::InputError(origin + ": format " + std::to_string(format) + ", this program reads " +
                           std::to_string(kFormat));
  }
  check_files(folder, root, origin);
  return {.step = field<std::int64_t>(root, "step", origin),
          .tokens = field<std::int64_t>(root, "tokens", origin),
          .metrics_bytes = field<std::int64_t>(root, "metrics_bytes", origin),
          .seed = field<std::int64_t>(root, "seed", origin),
          .world_size = field<std::int64_t>(root, "world_size", origin),
          .revision = field<std::string>(root, "revision", origin),
          // Checkpoints of earlier versions know nothing of their data.
          .data = root.contains("data") ? field<std::string>(root, "data", origin) : "",
          .config = field<std::string>(root, "config", origin)};
}

void load_checkpoint(const fs::path& folder, core::ParamTable& table, const Stream& stream) {
  const SafetensorsReader model(folder / kModelFile);
  const SafetensorsReader optimizer(folder / kOptimizerFile);
  const std::vector<Slot> weights = weight_slots(table);
  const std::vector<Slot> states = optimizer_slots(table);
  check_slots(model, weights);
  check_slots(optimizer, states);
  read_slots(model, weights, stream);
  read_slots(optimizer, states, stream);
  table.refresh_weights(stream);
}

}  // namespace strait::io
