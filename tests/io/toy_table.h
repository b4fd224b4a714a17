#pragma once

#include <map>
#include <regex>
#include <string>
#include <vector>

#include "core/param_table.h"
#include "io/name_map.h"

namespace strait::test {

/// Name of the fused parameter that holds a part, and the dim it is stacked along.
inline std::pair<std::string, int> fused_name(const std::string& part) {
  static const std::regex qkv(R"((.*)\.attn\.[qkv]\.weight)");
  static const std::regex gate_up(R"((.*)\.(gate|up)\.weight)");
  std::smatch found;
  if (std::regex_match(part, found, qkv)) return {found[1].str() + ".attn.qkv.weight", 0};
  if (std::regex_match(part, found, gate_up)) {
    const std::string prefix = found[1];
    return {prefix + ".gate_up.weight", prefix.ends_with("experts") ? 1 : 0};
  }
  return {part, 0};
}

/// A parameter table with the parts a name map speaks of, fused as the layers fuse them.
inline void add_parts(core::ParamTable& table, const std::vector<io::NameMapEntry>& map,
                      std::int64_t n_experts) {
  std::vector<core::ParamSpec> specs;
  std::map<std::string, std::size_t> index;
  for (const io::NameMapEntry& entry : map) {
    if (entry.expert > 0 || entry.constant) continue;
    std::vector<std::int64_t> shape = entry.shape;
    if (entry.expert == 0) shape.insert(shape.begin(), n_experts);
    const auto [name, dim] = fused_name(entry.part);
    if (index.try_emplace(name, specs.size()).second) {
      specs.push_back({.name = name, .shape = shape, .section_dim = dim});
      specs.back().shape[dim] = 0;
      specs.back().trainable = !name.ends_with("router.bias");
    }
    core::ParamSpec& spec = specs[index[name]];
    spec.shape[dim] += shape[dim];
    spec.sections.push_back({entry.part, shape[dim]});
  }
  for (core::ParamSpec& spec : specs) table.add(std::move(spec));
}

}  // namespace strait::test
