#pragma once

#include <filesystem>

#include "io/hf_export.h"
#include "train/open_model.h"

namespace strait::train {

struct ExportRequest {
  ModelSource source;
  std::filesystem::path to;  // must not hold anything
  io::HfDtype dtype = io::HfDtype::f32;
  std::int64_t shard_bytes = 5'000'000'000;
  bool own = false;  // this project's own architecture even where transformers has one
};

struct ExportReport {
  io::ExactFamily family;
  std::filesystem::path weights;  // where they came from
  double difference = 0;          // largest of the logits, over the largest logit
  bool exact = true;              // false: more than what the rounding of the dtype explains
};

/// Writes the folder, reads it back as an import would, and compares the logits of 64 tokens on the
/// CPU with the source's own. The folder appears whole under its name or not at all.
ExportReport export_model(const ExportRequest& request);

}  // namespace strait::train
