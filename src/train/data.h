#pragma once

#include <memory>
#include <string>
#include <vector>

#include "config/config.h"
#include "input/dataset.h"
#include "input/loader.h"
#include "train/choice_eval.h"

namespace strait::train {

/// Tokenizer, token sources and loaders of a run.
struct Data {
  std::unique_ptr<input::Tokenizer> tokenizer;
  std::unique_ptr<input::Dataset> dataset;
  std::unique_ptr<input::Loader> train;
  std::string fingerprint;  // of the training tokens; on rank 0 of a run, see input::fingerprint
  std::vector<input::EvalLoader> validation;  // one a dataset; empty without a validation split
  std::vector<ChoiceTask> tasks;
};

/// Opens everything that the config names. Throws InputError.
Data open_data(const config::Config& config);

}  // namespace strait::train
