#include "io/hf_export.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "io/hf_import.h"
#include "io/name_map.h"
#include "io/part_copy.h"
#include "io/safetensors_header.h"
#include "io/safetensors_writer.h"
#include "kernels/bf16.h"
#include "modeling_strait.h"

namespace strait::io {
namespace {

namespace fs = std::filesystem;

/// A tensor of the folder and the entries that fill it.
struct Target {
  std::string name;
  std::vector<std::int64_t> shape;
  std::vector<NameMapEntry> entries;

  std::int64_t elements() const {
    std::int64_t n = 1;
    for (const std::int64_t size : shape) n *= size;
    return n;
  }
};

std::vector<Target> targets_of(const std::vector<NameMapEntry>& map) {
  std::vector<Target> targets;
  std::map<std::string, std::size_t> index;
  for (const NameMapEntry& entry : map) {
    const auto [at, fresh] = index.try_emplace(entry.hf, targets.size());
    if (fresh) targets.push_back({entry.hf, entry.shape, {}});
    targets[at->second].entries.push_back(entry);
  }
  return targets;
}

/// transformers keeps these in float32, whatever the rest is in: a rounded one chooses otherwise.
bool stays_wide(const std::string& name) {
  return name.ends_with("balancing_biases") || name.ends_with("e_score_correction_bias") ||
         name.ends_with("router.bias");
}

/// To the nearest, ties to even. Below 2^-14 the steps are as wide as just above it; at 65520 and
/// beyond it is infinite.
std::uint16_t round_to_f16(float value) {
  const auto sign = static_cast<std::uint16_t>(std::signbit(value) ? 0x8000 : 0);
  if (std::isnan(value)) return sign | 0x7e00;
  const double size = std::abs(static_cast<double>(value));
  if (size >= 65520) return sign | 0x7c00;
  const int exponent = std::max(std::ilogb(size), -14);
  const double steps = std::nearbyint(std::ldexp(size, 10 - exponent));
  return static_cast<std::uint16_t>(sign + ((exponent + 14) << 10) + static_cast<int>(steps));
}

const char* stored_name(HfDtype dtype) {
  switch (dtype) {
    case HfDtype::f32:
      return "F32";
    case HfDtype::bf16:
      return "BF16";
    case HfDtype::f16:
      return "F16";
    case HfDtype::f64:
      return "F64";
  }
  return "?";
}

std::int64_t bytes_of(HfDtype dtype) {
  return static_cast<std::int64_t>(safetensors_dtype_size(stored_name(dtype)));
}

HfDtype dtype_of(const std::string& name, HfDtype asked) {
  const bool narrow = asked == HfDtype::bf16 || asked == HfDtype::f16;
  return narrow && stays_wide(name) ? HfDtype::f32 : asked;
}

/// Values of whole tensors, in the dtype they are written in.
class Gatherer {
 public:
  Gatherer(const core::ParamTable& table, const Stream& stream)
      : parts_(table.parts()), stream_(stream) {
    for (const core::Part& part : parts_) by_name_[part.name] = &part;
  }

  std::span<const std::byte> bytes(const Target& target, HfDtype dtype) {
    values_.assign(static_cast<std::size_t>(target.elements()), 0.0);
    for (const NameMapEntry& entry : target.entries) place(entry);
    bytes_.resize(values_.size() * static_cast<std::size_t>(bytes_of(dtype)));
    switch (dtype) {
      case HfDtype::f32:
        store<float>([](double value) { return static_cast<float>(value); });
        break;
      case HfDtype::bf16:
        store<std::uint16_t>([](double v) { return kernels::bf16_of(static_cast<float>(v)); });
        break;
      case HfDtype::f16:
        require_room(target.name);
        store<std::uint16_t>([](double v) { return round_to_f16(static_cast<float>(v)); });
        break;
      case HfDtype::f64:
        store<double>([](double value) { return value; });
        break;
    }
    return bytes_;
  }

 private:
  void place(const NameMapEntry& entry) {
    if (entry.constant) {
      const std::vector<double> same(static_cast<std::size_t>(entry.view.elements()),
                                     *entry.constant);
      return scatter(entry.view, std::span(same), std::span(values_));
    }
    const auto found = by_name_.find(entry.part);
    if (found == by_name_.end()) {
      throw core::RuntimeFault("the model has no parameter " + entry.part + " for " + entry.hf);
    }
    Tensor view = whole_view(*found->second, found->second->param->master);
    if (entry.expert >= 0) view = view.slice(0, entry.expert, 1);
    if (view.dtype == DType::f64) {
      take<double>(view);
    } else {
      take<float>(view);
    }
    if (entry.exponent) {
      for (double& value : part_) value = std::exp(value);
    }
    scatter(entry.view, std::span<const double>(part_), std::span(values_));
  }

  template <class T>
  void take(const Tensor& view) {
    std::vector<T> host(static_cast<std::size_t>(view.numel()));
    copy_view_to_host(view, std::as_writable_bytes(std::span(host)), stream_);
    part_.assign(host.begin(), host.end());
  }

  template <class T, class Round>
  void store(const Round& round) {
    for (std::size_t i = 0; i < values_.size(); ++i) {
      const T value = round(values_[i]);
      std::memcpy(bytes_.data() + sizeof(T) * i, &value, sizeof(T));
    }
  }

  void require_room(const std::string& name) const {
    for (const double value : values_) {
      if (!std::isfinite(value) || std::abs(value) < 65520) continue;
      throw core::InputError("float16 cannot hold " + std::to_string(value) + " of " + name +
                             "; choose bfloat16 or float32");
    }
  }

  std::vector<core::Part> parts_;
  std::map<std::string, const core::Part*> by_name_;
  Stream stream_;
  std::vector<double> values_, part_;
  std::vector<std::byte> bytes_;
};

/// Files of at most `limit` bytes, unless one tensor is larger.
std::vector<std::vector<const Target*>> shards_of(const std::vector<Target>& targets,
                                                  std::int64_t limit, HfDtype dtype) {
  std::vector<std::vector<const Target*>> shards(1);
  std::int64_t bytes = 0;
  for (const Target& target : targets) {
    const std::int64_t own = target.elements() * bytes_of(dtype);
    if (bytes > 0 && bytes + own > limit) {
      shards.emplace_back();
      bytes = 0;
    }
    shards.back().push_back(&target);
    bytes += own;
  }
  return shards;
}

std::string shard_name(std::size_t index, std::size_t count) {
  if (count == 1) return "model.safetensors";
  char name[64];
  std::snprintf(name, sizeof name, "model-%05zu-of-%05zu.safetensors", index + 1, count);
  return name;
}

void write_text(const fs::path& path, const std::string& text) {
  core::write_file_atomically(path, [&](std::ostream& out) { out << text; });
}

void write_weights(const fs::path& folder, const std::vector<Target>& targets,
                   const core::ParamTable& table, const HfExportOptions& options,
                   const Stream& stream) {
  Gatherer gatherer(table, stream);
  const auto shards = shards_of(targets, options.shard_bytes, options.dtype);
  nlohmann::ordered_json files = nlohmann::ordered_json::object();
  std::int64_t total = 0;
  for (std::size_t i = 0; i < shards.size(); ++i) {
    const std::string name = shard_name(i, shards.size());
    std::vector<TensorSource> sources;
    for (const Target* target : shards[i]) {
      const HfDtype dtype = dtype_of(target->name, options.dtype);
      sources.push_back({target->name, stored_name(dtype), target->shape,
                         [&gatherer, target, dtype] { return gatherer.bytes(*target, dtype); }});
      files[target->name] = name;
      total += target->elements() * bytes_of(dtype);
    }
    write_safetensors(folder / name, std::move(sources), {{"format", "pt"}});
  }
  if (shards.size() == 1) return;
  const nlohmann::ordered_json index{{"metadata", {{"total_size", total}}}, {"weight_map", files}};
  write_text(folder / "model.safetensors.index.json", index.dump(2) + "\n");
}

std::string generation_config(const HfExportOptions& options) {
  nlohmann::ordered_json out{{"_from_model_config", true}};
  if (options.eos) out["eos_token_id"] = *options.eos;
  return out.dump(2) + "\n";
}

}  // namespace

const char* torch_name(HfDtype dtype) {
  switch (dtype) {
    case HfDtype::f32:
      return "float32";
    case HfDtype::bf16:
      return "bfloat16";
    case HfDtype::f16:
      return "float16";
    case HfDtype::f64:
      return "float64";
  }
  return "?";
}

ExactFamily write_hf(const fs::path& folder, const core::ParamTable& table,
                     const config::Model& model, const HfExportOptions& options,
                     const Stream& stream) {
  ExactFamily exact = exact_family(model);
  if (options.own) exact = {.family = HfFamily::strait, .why = "it was asked for"};
  const bool own = exact.family == HfFamily::strait;
  const auto targets = targets_of(own ? own_name_map(table) : name_map(model));
  write_weights(folder, targets, table, options, stream);
  if (own) write_text(folder / "modeling_strait.py", kModelingStrait);
  write_text(folder / "generation_config.json", generation_config(options));
  write_text(folder / "config.json", hf_config_text(model, exact.family, options));
  return exact;
}

}  // namespace strait::io
