#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

#include "config/config.h"
#include "core/param_table.h"
#include "io/hf_family.h"

// A run's weights as a folder that transformers loads: config.json, generation_config.json,
// safetensors (with an index when there are several) and, for this project's own architecture, its
// modelling file.
namespace strait::io {

enum class HfDtype { f32, bf16, f16, f64 };

/// "float32" and so on, as PyTorch names it.
const char* torch_name(HfDtype dtype);

struct HfExportOptions {
  HfDtype dtype = HfDtype::f32;  // selection biases stay f32 at least
  std::int64_t shard_bytes = 5'000'000'000;
  std::int64_t max_positions = 0;        // 0: as `like` says, else not written
  std::optional<std::int64_t> eos = {};  // token that ends a document
  bool own = false;                      // our own architecture even where another would do
  std::filesystem::path like = {};       // Hugging Face folder whose settings that are no
                                         // concern of the model (token ids, dropout) are kept
};

/// config.json of a model of that family.
std::string hf_config_text(const config::Model& model, HfFamily family,
                           const HfExportOptions& options);

/// Writes everything but the tokenizer into `folder`, which exists. Reads master weights; every
/// parameter must be whole on this rank. Returns the family and why it is that one. Throws
/// InputError for a model that cannot be expressed and for a weight too large for the dtype,
/// RuntimeFault when the disk refuses.
ExactFamily write_hf(const std::filesystem::path& folder, const core::ParamTable& table,
                     const config::Model& model, const HfExportOptions& options,
                     const Stream& stream);

}  // namespace strait::io
