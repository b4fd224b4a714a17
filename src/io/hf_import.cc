#include "io/hf_import.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <optional>
#include <set>

#include "core/error.h"
#include "io/json_text.h"
#include "io/name_map.h"
#include "io/part_copy.h"
#include "io/safetensors.h"

namespace strait::io {
namespace {

constexpr std::size_t kNamesShown = 5;

/// A list of names for a message, cut short.
std::string listed(const std::vector<std::string>& names) {
  std::string out;
  for (std::size_t i = 0; i < std::min(names.size(), kNamesShown); ++i) {
    out += (i ? ", " : "") + printable(names[i]);
  }
  if (names.size() > kNamesShown) {
    out += " and " + std::to_string(names.size() - kNamesShown) + " more";
  }
  return out;
}

bool is_float(const std::string& dtype) {
  return dtype == "F64" || dtype == "F32" || dtype == "BF16" || dtype == "F16";
}

bool bit_equal(std::span<const std::byte> a, std::span<const std::byte> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size()) == 0;
}

/// Layer number of "model.layers.N.rest", or nothing.
std::optional<std::int64_t> layer_of(const std::string& name) {
  static constexpr std::string_view kPrefix = "model.layers.";
  if (name.rfind(kPrefix, 0) != 0) return {};
  std::int64_t layer = 0;
  std::size_t i = kPrefix.size();
  const std::size_t begin = i;
  for (; i < name.size() && name[i] >= '0' && name[i] <= '9' && i < begin + 9; ++i) {
    layer = layer * 10 + (name[i] - '0');
  }
  if (i == begin || i == name.size() || name[i] != '.') return {};
  return layer;
}

/// Why a tensor that the model has no place for may be left out; empty: it may not.
std::string reason_to_skip(const SafetensorsReader& reader, const std::string& name,
                           const config::Model& model) {
  const bool mla = model.attention.kind == config::AttentionKind::mla;
  if (mla && layer_of(name).value_or(0) >= model.n_layers) {
    return "belongs to a multi-token prediction layer";
  }
  if (name.ends_with(".rotary_emb.inv_freq")) return "is a rotary table, computed here";
  const std::string embedding = "model.embed_tokens.weight";
  if (model.tie_embeddings && name == "lm_head.weight" && reader.contains(embedding) &&
      bit_equal(reader.bytes(name), reader.bytes(embedding))) {
    return "repeats the tied embedding";
  }
  return "";
}

/// Compares the folder's tensors with the map's; returns notes on those left out.
std::vector<std::string> check_tensors(const SafetensorsReader& reader,
                                       const std::vector<NameMapEntry>& map,
                                       const config::Model& model) {
  std::set<std::string> expected;
  std::vector<std::string> missing, extra, notes;
  for (const NameMapEntry& entry : map) {
    expected.insert(entry.hf);
    if (!reader.contains(entry.hf)) {
      missing.push_back(entry.hf);
    } else if (reader.info(entry.hf).shape != entry.shape) {
      throw core::InputError(reader.origin() + ": " + printable(entry.hf) + " is " +
                             describe(reader.info(entry.hf)) + ", the model needs " +
                             describe(entry.shape) + " for " + entry.part);
    } else if (!is_float(reader.info(entry.hf).dtype)) {
      throw core::InputError(reader.origin() + ": " + printable(entry.hf) + " is " +
                             describe(reader.info(entry.hf)) + ", expected F64, F32, BF16 or F16");
    }
  }
  for (const std::string& name : reader.names()) {
    if (expected.count(name) > 0) continue;
    const std::string why = reason_to_skip(reader, name, model);
    if (why.empty()) {
      extra.push_back(name);
    } else {
      notes.push_back(name + " " + why + ": left out");
    }
  }
  if (!missing.empty()) {
    throw core::InputError(reader.origin() + ": " + std::to_string(missing.size()) +
                           " tensors are missing: " + listed(missing));
  }
  if (!extra.empty()) {
    throw core::InputError(reader.origin() + ": " + std::to_string(extra.size()) +
                           " tensors have no place in the model: " + listed(extra) +
                           "; check that model and checkpoint agree");
  }
  return notes;
}

/// Where one tensor of the checkpoint goes.
struct Target {
  const NameMapEntry* entry = nullptr;
  Tensor view;
};

/// Matches the map with the table's parts, both ways.
std::vector<Target> targets_of(const std::vector<NameMapEntry>& map,
                               const core::ParamTable& table) {
  const std::vector<core::Part> parts = table.parts();
  std::map<std::string, const core::Part*> by_name;
  std::map<std::string, std::int64_t> unfilled;  // elements of each part not yet mapped
  for (const core::Part& part : parts) {
    if (!part.param->spec.exported) continue;
    by_name[part.name] = &part;
    std::int64_t n = 1;
    for (const std::int64_t size : part.global_shape) n *= size;
    unfilled[part.name] = n;
  }
  std::vector<Target> targets;
  for (const NameMapEntry& entry : map) {
    if (entry.constant) continue;
    const auto found = by_name.find(entry.part);
    if (found == by_name.end()) {
      throw core::InputError("the model has no parameter " + entry.part + " for " + entry.hf);
    }
    Tensor view = whole_view(*found->second, found->second->param->master);
    if (view.dtype != DType::f64 && view.dtype != DType::f32) {
      throw core::InputError("parameter " + entry.part + " is " + name_of(view.dtype) +
                             "; only f32 and f64 can be imported");
    }
    std::vector<std::int64_t> shape = shape_of(view);
    if (entry.expert >= 0) {
      if (entry.expert < shape.front()) view = view.slice(0, entry.expert, 1);
      shape.erase(shape.begin());
    }
    const bool fits =
        entry.view.same_order() ? shape == entry.shape : view.numel() == entry.view.elements();
    if (!fits) {
      throw core::InputError("parameter " + entry.part + " has " + describe(shape) + " where " +
                             entry.hf + " has " + describe(entry.shape));
    }
    unfilled[entry.part] -= view.numel();
    targets.push_back({&entry, view});
  }
  for (const auto& [name, elements] : unfilled) {
    if (elements != 0) {
      throw core::InputError("parameter " + name + ": the checkpoint's layout fills it wrongly (" +
                             std::to_string(elements) + " elements left over)");
    }
  }
  return targets;
}

/// Elements that the model has no parameter for must be what the map says.
void check_constants(const SafetensorsReader& reader, const std::vector<NameMapEntry>& map) {
  for (const NameMapEntry& entry : map) {
    if (!entry.constant || entry.any) continue;
    const std::vector<double> whole = reader.read<double>(entry.hf);
    for (const double value : gather(entry.view, std::span(whole))) {
      if (value == *entry.constant) continue;
      throw core::InputError(reader.origin() + ": " + printable(entry.hf) + " holds " +
                             std::to_string(value) + " where a model without it has " +
                             std::to_string(*entry.constant) +
                             "; import it with the model its config.json describes");
    }
  }
}

template <class T>
void fill(const SafetensorsReader& reader, const Target& target, const Stream& stream) {
  const std::vector<T> whole = reader.read<T>(target.entry->hf);
  std::vector<T> host = gather(target.entry->view, std::span(whole));
  if (target.entry->exponent) {
    for (T& value : host) {
      if (!(value > 0)) {
        throw core::InputError(reader.origin() + ": " + printable(target.entry->hf) + " holds " +
                               std::to_string(value) +
                               ", which is no exponential; set "
                               "model.attention.cca.key_temperature to linear");
      }
      value = std::log(value);
    }
  }
  copy_host_to_view(std::as_bytes(std::span(host)), target.view, stream);
}

}  // namespace

std::vector<std::string> load_hf_weights(const std::filesystem::path& folder,
                                         core::ParamTable& table, const config::Model& model,
                                         const Stream& stream) {
  const SafetensorsReader reader(folder);
  const bool described = std::filesystem::exists(folder / "config.json");
  const bool own = described && hf_model_type(folder) == name_of(HfFamily::strait);
  const std::vector<NameMapEntry> map = own ? own_name_map(table) : name_map(model);
  std::vector<std::string> notes = check_tensors(reader, map, model);
  check_constants(reader, map);
  for (const Target& target : targets_of(map, table)) {
    if (target.view.dtype == DType::f64) {
      fill<double>(reader, target, stream);
    } else {
      fill<float>(reader, target, stream);
    }
  }
  table.refresh_weights(stream);
  return notes;
}

}  // namespace strait::io
