#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "input/tokenizer.h"
#include "train/decoder.h"

namespace strait::train {

/// Where a trained model is.
struct ModelSource {
  std::string run;  // a run's folder: its newest checkpoint, or
  std::string hf;   // a Hugging Face folder
};

/// A model to read texts with.
struct OpenModel {
  config::Config config;
  std::unique_ptr<Decoder> decoder;
  std::unique_ptr<input::Tokenizer> tokenizer;  // null: not known here, tokens are numbers
  std::filesystem::path weights;                // the checkpoint, or the folder
  std::vector<std::string> notes;               // of the import
};

/// The config behind `source`: of a run as it was resolved, of a Hugging Face folder the model
/// alone. Throws InputError, also when not exactly one place is named.
config::Config read_source(const ModelSource& source);

/// Loads the weights: on a GPU in the run's own precision, on the CPU in float32 or float64. Texts
/// have at most `capacity` tokens. Throws InputError.
OpenModel open_model(const ModelSource& source, std::int64_t capacity, Device device);

}  // namespace strait::train
