#include "train/start_state.h"

#include <cstring>

#include "config/compare.h"
#include "config/load.h"
#include "core/error.h"
#include "core/files.h"
#include "io/checkpoint.h"
#include "io/hf_import.h"
#include "io/json_lines.h"

namespace strait::train {
namespace {

/// What a run may not change when it goes on: the model, the order of its data, its numbers, and
/// what the optimizer keeps.
constexpr std::string_view kFixedKeys[] = {
    "model",        "run.seed",           "data.tokenizer",   "data.seq_len",
    "data.packing", "data.document_mask", "train.batch_size", "precision",
    "optim.kind"};

void require_same_run(const std::filesystem::path& folder, const std::string& stored,
                      const config::Config& now) {
  const config::Config before =
      config::read_text(stored, folder.string() + "/" + io::kManifestFile, {});
  const auto found = config::differences(before, now, kFixedKeys);
  if (found.empty()) return;
  std::string text = folder.string() + ": was made with another config:";
  for (const config::Difference& key : found) {
    text += "\n  " + key.path + " = " + key.now + ", was " + key.before;
  }
  throw core::InputError(text +
                         "\nset these back to resume, or start a new run in another run.dir");
}

/// The training tokens of a resumed run must be what they were; their files may have moved.
void require_same_data(const std::filesystem::path& folder, const std::string& stored,
                       const std::string& now) {
  if (stored.empty() || now.empty() || stored == now) return;
  throw core::InputError(folder.string() +
                         ": data.train: expected tokens and shares with the "
                         "fingerprint " +
                         stored + ", got " + now +
                         "; name the data the run was trained on, or start a new run in another "
                         "run.dir");
}

std::vector<double> values_of_chief(const std::vector<double>& values,
                                    parallel::Communicator& world) {
  const std::string bytes = world.broadcast(
      std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(double)), 0);
  std::vector<double> all(bytes.size() / sizeof(double));
  if (!all.empty()) std::memcpy(all.data(), bytes.data(), bytes.size());
  return all;
}

std::vector<double> last_of(std::vector<double> values, std::int64_t count) {
  const auto extra = static_cast<std::ptrdiff_t>(values.size()) - count;
  if (extra > 0) values.erase(values.begin(), values.begin() + extra);
  return values;
}

}  // namespace

std::filesystem::path choose_checkpoint(const RunFolder& folder, parallel::Communicator& world,
                                        core::Log& log) {
  std::string chosen;
  parallel::together(world, [&] {
    if (world.rank() != 0) return;
    const io::FoundCheckpoint found = io::find_checkpoint(folder.checkpoints(), true);
    for (const std::string& reason : found.skipped) log.warn(reason);
    if (found.folder) chosen = found.folder->string();
    if (found.folder || found.skipped.empty()) return;
    throw core::InputError(folder.checkpoints().string() +
                           ": no checkpoint in it is whole, see the warnings; restore one, or "
                           "remove the folder to begin at step 0");
  });
  return world.broadcast(chosen, 0);
}

io::CheckpointState start_state(Engine& engine, const std::filesystem::path& checkpoint,
                                const Data& data, core::Log& log) {
  const config::Config& config = engine.config();
  if (!checkpoint.empty()) {
    const io::CheckpointState state = io::read_checkpoint_state(checkpoint);
    require_same_run(checkpoint, state.config, config);
    require_same_data(checkpoint, state.data, data.fingerprint);
    io::load_checkpoint(checkpoint, engine.table(), engine.ctx().stream);
    log.info("resumes " + checkpoint.string() + " after step " + std::to_string(state.step));
    return state;
  }
  if (!config.init.from.empty()) {
    for (const std::string& note : io::load_hf_weights(
             config::locate(config.init.from), engine.table(), config.model, engine.ctx().stream)) {
      log.info(note);
    }
  }
  return {};
}

std::int64_t metrics_kept(const io::CheckpointState& state, const RunFolder& folder,
                          core::Log& log) {
  std::error_code absent;
  const std::uintmax_t size = std::filesystem::file_size(folder.metrics(), absent);
  const std::int64_t there = absent ? 0 : static_cast<std::int64_t>(size);
  if (there >= state.metrics_bytes) return state.metrics_bytes;
  log.warn(folder.metrics().string() + ": has " + std::to_string(there) +
           " bytes, the checkpoint was made when it had " + std::to_string(state.metrics_bytes) +
           "; goes on without the lines that are lost");
  const std::string text = absent ? "" : core::read_file(folder.metrics());
  return static_cast<std::int64_t>(text.rfind('\n') + 1);
}

LoopStart loop_start(const io::CheckpointState& state, const RunFolder& folder, std::int64_t window,
                     parallel::Communicator& world) {
  LoopStart start{.step = state.step, .tokens = state.tokens, .batches = state.batches};
  if (state.step == 0) return start;
  parallel::together(world, [&] {
    if (world.rank() != 0) return;
    start.losses = last_of(io::read_series(folder.metrics(), "loss", "bad"), window);
    start.norms = last_of(io::read_series(folder.metrics(), "grad_norm", "bad"), window);
  });
  start.losses = values_of_chief(start.losses, world);
  start.norms = values_of_chief(start.norms, world);
  return start;
}

}  // namespace strait::train
