#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "config/config.h"
#include "core/param_table.h"

// Starting from a checkpoint in Hugging Face layout: llama, qwen3, qwen3_moe, deepseek_v3, zaya,
// and this project's own, strait.
namespace strait::io {

/// Reads `folder`/config.json (old and new spellings) as a resolved model. Throws InputError naming
/// the key, its value and the reason for anything this project does not compute the same way.
/// Training-only settings (dropout, router loss) are the run's to choose and are left at defaults.
config::Model model_from_hf(const std::filesystem::path& folder);

/// model_type of `folder`/config.json; empty when it has none.
std::string hf_model_type(const std::filesystem::path& folder);

/// Fills every parameter from the folder's safetensors, converting to the table's dtype. Missing,
/// extra and misshapen tensors are InputErrors naming them; nothing is written before all are
/// checked. `model` is the resolved model the table was built for. Returns a note for each tensor
/// that was left out on purpose (multi-token prediction layers, rotary tables, tied copies).
std::vector<std::string> load_hf_weights(const std::filesystem::path& folder,
                                         core::ParamTable& table, const config::Model& model,
                                         const Stream& stream);

}  // namespace strait::io
