#include "train/open_model.h"

#include "config/load.h"
#include "core/error.h"
#include "core/files.h"
#include "io/checkpoint.h"
#include "io/hf_import.h"
#include "io/hf_tokenizer.h"

namespace strait::train {
namespace {

namespace fs = std::filesystem;

void require_one(const ModelSource& source) {
  if (source.run.empty() == source.hf.empty()) {
    throw core::InputError(
        "name one model: --run FOLDER of a run, or --hf FOLDER in Hugging Face "
        "layout");
  }
}

/// The CPU has no bf16: there the masters are multiplied.
void set_precision(config::Config& config, Device device) {
  config::Precision& precision = config.precision;
  if (device == Device::cpu && precision.compute == config::Compute::bf16) {
    precision.compute = config::Compute::f32;
  }
}

fs::path load_run(const std::string& run, Decoder& decoder) {
  return io::load_newest_weights(fs::path(run) / "checkpoints", decoder.table(), decoder.stream());
}

std::unique_ptr<input::Tokenizer> tokenizer_of(const ModelSource& source,
                                               const config::Config& config) {
  if (source.hf.empty()) return input::make_tokenizer(config.data.tokenizer);
  const std::string name = io::tokenizer_name(source.hf);
  if (!name.empty()) return input::make_tokenizer(name);
  const bool there = fs::exists(fs::path(source.hf) / "tokenizer.json") ||
                     fs::exists(fs::path(source.hf) / "tokenizer.model");
  return there ? input::make_tokenizer(source.hf) : nullptr;
}

}  // namespace

config::Config read_source(const ModelSource& source) {
  require_one(source);
  std::error_code unseen;
  const std::string& folder = source.run.empty() ? source.hf : source.run;
  if (!fs::exists(fs::path(folder) / "config.json", unseen)) {
    throw core::InputError(
        source.run.empty()
            ? "--hf " + folder + ": has no config.json; expected a Hugging Face checkpoint"
            : "--run " + folder + ": holds no run (no config.json); name a run folder, such as " +
                  "runs/<config>-<time>");
  }
  if (!source.run.empty()) {
    const fs::path path = fs::path(source.run) / "config.json";
    return config::read_text(core::read_file(path), path.string(), {});
  }
  config::Config config;
  config.model = io::model_from_hf(source.hf);
  return config;
}

OpenModel open_model(const ModelSource& source, std::int64_t capacity, Device device) {
  OpenModel open{
      .config = read_source(source), .decoder = {}, .tokenizer = {}, .weights = {}, .notes = {}};
  set_precision(open.config, device);
  open.tokenizer = tokenizer_of(source, open.config);
  open.decoder = std::make_unique<Decoder>(open.config, capacity, device);
  if (!source.run.empty()) {
    open.weights = load_run(source.run, *open.decoder);
  } else {
    open.weights = source.hf;
    open.notes = io::load_hf_weights(source.hf, open.decoder->table(), open.config.model,
                                     open.decoder->stream());
  }
  return open;
}

}  // namespace strait::train
