#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "config/config.h"
#include "io/hf_view.h"

// Between the parts of this project's parameters (ParamTable::parts()) and the tensors of a
// Hugging Face checkpoint. One table serves import and export.
namespace strait::io {

enum class HfFamily { llama, qwen3, qwen3_moe, deepseek_v3, zaya };

const char* name_of(HfFamily family);

/// A Hugging Face tensor and what it is here: a whole part, or one expert's slice (dim 0) of it. A
/// view says where the part lies in a tensor of another order, or among others.
struct NameMapEntry {
  std::string part;                 // "layers.0.ffn.experts.gate.weight"
  std::int64_t expert = -1;         // -1: the whole part
  std::string hf;                   // "model.layers.0.mlp.experts.3.gate_proj.weight"
  std::vector<std::int64_t> shape;  // of that tensor; of both where the order is the same
  HfView view = {};
};

/// The family whose tensor layout the model has. Throws InputError naming the setting that no
/// family can hold. Says nothing of settings without tensors (RoPE, windows, routing weights).
HfFamily hf_family(const config::Model& model);

/// Every parameter of a resolved model (no derived value left at 0), each element exactly once;
/// embedding first, then layer by layer. A pure function of the model.
std::vector<NameMapEntry> name_map(const config::Model& model);

}  // namespace strait::io
