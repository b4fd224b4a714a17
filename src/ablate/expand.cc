#include "ablate/expand.h"

#include <algorithm>

#include "ablate/fields.h"
#include "config/load.h"
#include "config/nearest.h"
#include "config/parse.h"
#include "config/reject.h"
#include "config/schema.h"
#include "core/error.h"

namespace strait::ablate {
namespace {

using Kind = JsonTree::Kind;

config::Config read_base(const Sweep& sweep) {
  if (sweep.base.is(Kind::text)) return config::read({.name = sweep.base.text()});
  return config::read_text(to_text(sweep.base), sweep.origin + ": base", {});
}

/// "convs0", "qk_mean-false", "kind-cca": of one value of a grid, fit for a name.
std::string suffix_of(const Grid::Axis& axis, const JsonTree& value) {
  std::string text = value.is(Kind::text) ? value.text() : to_text(value);
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    if (!is_name(std::string(1, c)) && c != '.') c = '_';
  }
  const std::string leaf = axis.path.substr(axis.path.rfind('.') + 1);
  return leaf + (value.is(Kind::number) ? "" : "-") + text;
}

bool takes(const Grid& grid, const std::string& variant) {
  return grid.variants.empty() || std::ranges::find(grid.variants, variant) != grid.variants.end();
}

/// Each of `specs` that the grid takes, once for every value of the axis.
std::vector<VariantSpec> multiply(const std::vector<VariantSpec>& specs, const Grid::Axis& axis) {
  std::vector<VariantSpec> all;
  for (const VariantSpec& spec : specs) {
    for (const JsonTree& value : axis.values) {
      VariantSpec one = spec;
      const std::string suffix = suffix_of(axis, value);
      one.name += "-" + suffix;
      one.label += " " + suffix;
      one.set.push_back({axis.path, value});
      all.push_back(std::move(one));
    }
  }
  return all;
}

std::vector<VariantSpec> all_specs(const Sweep& sweep) {
  std::vector<VariantSpec> specs;
  for (const VariantSpec& spec : sweep.variants) {
    std::vector<VariantSpec> own = {spec};
    for (const Grid& grid : sweep.grids) {
      if (!takes(grid, spec.name)) continue;
      for (const Grid::Axis& axis : grid.axes) own = multiply(own, axis);
    }
    specs.insert(specs.end(), own.begin(), own.end());
  }
  return specs;
}

void set_key(config::Config& config, const std::string& assignment, const std::string& origin) {
  try {
    config::parse_override(config, assignment);
  } catch (const core::InputError& error) {
    constexpr std::string_view kOption = "--set ";
    std::string what = error.what();
    if (what.starts_with(kOption)) what.erase(0, kOption.size());
    config::reject(origin, what);
  }
}

void require_different_names(const std::vector<Variant>& variants, const Sweep& sweep) {
  for (std::size_t i = 0; i < variants.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      if (variants[i].spec.name != variants[j].spec.name) continue;
      config::reject(sweep.origin, "grids", config::show(variants[i].spec.name),
                     "two variants get this name; expected grids of different keys and values");
    }
  }
}

void require_variant(const std::vector<Variant>& variants, const std::string& name,
                     const std::string& path, const Sweep& sweep) {
  std::vector<std::string_view> names;
  for (const Variant& variant : variants) names.push_back(variant.spec.name);
  if (std::ranges::find(names, name) != names.end()) return;
  config::reject(
      sweep.origin, path, config::show(name),
      "no variant of this name; nearest is " + std::string(config::nearest_word(name, names)));
}

}  // namespace

std::vector<Variant> expand(const Sweep& sweep, const ExpandOptions& options) {
  const config::Config base = read_base(sweep);
  std::vector<Variant> variants;
  for (VariantSpec& spec : all_specs(sweep)) {
    const std::string origin = sweep.origin + ": variants." + spec.name;
    config::Origins origins = origin;
    config::Config config = base;
    for (const Assignment& a : spec.set) {
      set_key(config, a.path + "=" + to_text(a.value), origin + ".set");
    }
    for (const std::string& assignment : options.overrides) {
      origins.set(config::parse_override(config, assignment),
                  config::origin_of_override(assignment));
    }
    if (config.model.vocab_size == 0) {
      config.model.vocab_size = config::tokenizer_size(config, options.vocab_of, origins);
    }
    variants.push_back({std::move(spec), with_keys(std::move(config), {}, origins)});
  }
  require_different_names(variants, sweep);
  require_variant(variants, sweep.baseline, "baseline", sweep);
  if (sweep.match && !sweep.match->variant.empty()) {
    require_variant(variants, sweep.match->variant, "match.to", sweep);
  }
  return variants;
}

config::Config with_keys(config::Config config, const std::vector<Assignment>& set,
                         const config::Origins& origins) {
  for (const Assignment& a : set) set_key(config, a.path + "=" + to_text(a.value), origins.file());
  config::validate(config, origins);
  return config;
}

JsonTree value_at(const config::Config& config, const std::string& path,
                  const std::string& origin) {
  const config::Key* key = config::find_key(path);
  if (!key) {
    config::reject(origin, config::printable(path) + ": unknown key; nearest is " +
                               config::nearest_path(path));
  }
  return std::visit([](const auto& value) { return JsonTree(value); }, key->get(config));
}

}  // namespace strait::ablate
