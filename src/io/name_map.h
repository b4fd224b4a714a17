#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/param_table.h"
#include "io/hf_family.h"
#include "io/hf_view.h"

// Between the parts of this project's parameters (ParamTable::parts()) and the tensors of a
// Hugging Face checkpoint. One table serves import and export.
namespace strait::io {

/// A Hugging Face tensor and what it is here: a whole part, or one expert's slice (dim 0) of it. A
/// view says where the part lies in a tensor of another order, or among others. Elements that the
/// architecture has and the model has not are a constant that changes nothing.
struct NameMapEntry {
  std::string part;                 // "layers.0.ffn.experts.gate.weight"; empty: a constant
  std::int64_t expert = -1;         // -1: the whole part
  std::string hf;                   // "model.layers.0.mlp.experts.3.gate_proj.weight"
  std::vector<std::int64_t> shape;  // of that tensor; of both where the order is the same
  HfView view = {};
  std::optional<double> constant = {};  // value of elements without a part
  bool any = false;                     // of a constant: import takes every value for it
  bool exponent = false;                // theirs is exp of ours
};

/// Every parameter of a resolved model (no derived value left at 0), each element exactly once;
/// embedding first, then layer by layer. A pure function of the model, which hf_family() accepts.
std::vector<NameMapEntry> name_map(const config::Model& model);

/// The same for this project's own layout: every part as it is, under its own name.
std::vector<NameMapEntry> own_name_map(const core::ParamTable& table);

}  // namespace strait::io
