#include "train/start_state.h"

#include <algorithm>

#include "config/compare.h"
#include "config/load.h"
#include "core/error.h"
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

std::vector<double> last_of(std::vector<double> values, std::int64_t count) {
  const auto extra = static_cast<std::ptrdiff_t>(values.size()) - count;
  if (extra > 0) values.erase(values.begin(), values.begin() + extra);
  return values;
}

}  // namespace

io::CheckpointState start_state(Engine& engine, const RunFolder& folder, const Data& data,
                                core::Log& log) {
  const config::Config& config = engine.config();
  if (folder.resumes) {
    const io::FoundCheckpoint found = io::find_checkpoint(folder.checkpoints(), true);
    for (const std::string& reason : found.skipped) log.warn(reason);
    if (found.folder) {
      const io::CheckpointState state = io::read_checkpoint_state(*found.folder);
      require_same_run(*found.folder, state.config, config);
      require_same_data(*found.folder, state.data, data.fingerprint);
      io::load_checkpoint(*found.folder, engine.table(), engine.ctx().stream);
      log.info("resumes " + found.folder->string() + " after step " + std::to_string(state.step));
      return state;
    }
    log.warn(folder.checkpoints().string() + ": holds no complete checkpoint; starts at step 0");
  }
  if (!config.init.from.empty()) {
    for (const std::string& note : io::load_hf_weights(
             config::locate(config.init.from), engine.table(), config.model, engine.ctx().stream)) {
      log.info(note);
    }
  }
  return {};
}

LoopStart loop_start(const io::CheckpointState& state, const RunFolder& folder,
                     std::int64_t window) {
  LoopStart start{.step = state.step, .tokens = state.tokens, .batches = state.batches};
  if (state.step == 0) return start;
  start.losses = last_of(io::read_series(folder.metrics(), "loss", "bad"), window);
  start.norms = last_of(io::read_series(folder.metrics(), "grad_norm", "bad"), window);
  return start;
}

}  // namespace strait::train
