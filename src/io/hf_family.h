#pragma once

#include <string>

#include "config/config.h"

// Which Hugging Face architecture a model is.
namespace strait::io {

/// `strait` is this project's own: a folder with its modelling file, for what transformers has no
/// class for.
enum class HfFamily { llama, qwen3, qwen3_moe, deepseek_v3, zaya, strait };

const char* name_of(HfFamily family);

/// "LlamaForCausalLM".
std::string architecture_of(HfFamily family);

/// The family whose tensor layout the model has. Throws InputError naming the setting that no
/// family can hold. Says nothing of settings without tensors (RoPE, windows, routing weights).
HfFamily hf_family(const config::Model& model);

/// The family that computes exactly what the model does.
struct ExactFamily {
  HfFamily family = HfFamily::strait;
  std::string why;  // why not one of transformers' own, when it is strait
};

/// Throws InputError for a model that nothing in a Hugging Face folder can express.
ExactFamily exact_family(const config::Model& model);

}  // namespace strait::io
