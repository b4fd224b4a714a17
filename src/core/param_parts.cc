#include <algorithm>

#include "core/error.h"
#include "core/param_shape.h"
#include "core/param_table.h"

// What a rank holds of parameters and their parts.
namespace strait::core {
namespace {

/// The stretches of shard.dim that are divided one by one, named for messages.
std::vector<Section> cuts_of(const ParamSpec& spec) {
  if (!spec.shard.cuts.empty()) {
    std::vector<Section> cuts;
    for (const std::int64_t size : spec.shard.cuts) cuts.push_back({spec.name, size});
    return cuts;
  }
  if (spec.shard.dim == spec.section_dim && !spec.sections.empty()) return spec.sections;
  return {{spec.name, spec.shape[spec.shard.dim]}};
}

/// What this rank holds along shard.dim of the whole parameter.
std::vector<Run> runs_of(const ParamSpec& spec) {
  const Shard& shard = spec.shard;
  std::vector<Run> runs;
  std::int64_t global = 0, local = 0;
  for (const Section& cut : cuts_of(spec)) {
    if (shard.even ? cut.size % shard.parts != 0 : cut.size < shard.parts) {
      throw InputError("parameter " + cut.name + ": " + std::to_string(cut.size) +
                       " rows do not divide over " + std::to_string(shard.parts) +
                       " ranks; lower parallel.tp or parallel.ep");
    }
    const std::int64_t begin = cut.size * shard.index / shard.parts;
    const std::int64_t length = cut.size * (shard.index + 1) / shard.parts - begin;
    runs.push_back({global + begin, local, length});
    global += cut.size;
    local += length;
  }
  if (global != spec.shape[shard.dim]) {
    throw InputError("parameter " + spec.name + ": cuts hold " + std::to_string(global) +
                     " rows, the parameter has " + std::to_string(spec.shape[shard.dim]));
  }
  return runs;
}

/// The runs inside [begin, begin + size), counted from there, and neighbours joined. `first` is
/// the local index of the first.
std::vector<Run> clip(const std::vector<Run>& runs, std::int64_t begin, std::int64_t size,
                      std::int64_t& first) {
  std::vector<Run> out;
  first = 0;
  for (const Run& run : runs) {
    const std::int64_t from = std::max(run.global, begin);
    const std::int64_t to = std::min(run.global + run.size, begin + size);
    if (run.global < begin) first += std::min(run.size, begin - run.global);
    if (from >= to) continue;
    const Run piece{from - begin, run.local + (from - run.global), to - from};
    const bool joins = !out.empty() && out.back().global + out.back().size == piece.global &&
                       out.back().local + out.back().size == piece.local;
    if (joins) {
      out.back().size += piece.size;
    } else {
      out.push_back(piece);
    }
  }
  for (Run& run : out) run.local -= first;
  return out;
}

/// Fills in what this rank holds of rows [begin, begin + size) of `spec`.
void locate(const ParamSpec& spec, std::int64_t begin, std::int64_t size, Part& part) {
  const bool along = spec.shard.dim == spec.section_dim;
  part.cut_dim = spec.shard.dim < 0 ? spec.section_dim : spec.shard.dim;
  if (along) {
    part.runs = clip(runs_of(spec), begin, size, part.local_begin);
    part.local_size = 0;
    for (const Run& run : part.runs) part.local_size += run.size;
    return;
  }
  part.local_begin = begin;
  part.local_size = size;
  std::int64_t first = 0;
  part.runs = spec.shard.dim < 0 ? std::vector<Run>{{0, 0, size}}
                                 : clip(runs_of(spec), 0, spec.shape[spec.shard.dim], first);
}

}  // namespace

std::vector<std::int64_t> local_shape_of(const ParamSpec& spec) {
  std::vector<std::int64_t> shape = spec.shape;
  if (spec.shard.dim < 0) return shape;
  shape[spec.shard.dim] = 0;
  for (const Run& run : runs_of(spec)) shape[spec.shard.dim] += run.size;
  return shape;
}

std::vector<std::vector<Run>> runs_of_ranks(const Part& part) {
  ParamSpec spec = part.param->spec;
  std::int64_t begin = 0;
  for (const Section& section : spec.sections) {
    if (section.name == part.name) break;
    begin += section.size;
  }
  std::vector<std::vector<Run>> all;
  for (spec.shard.index = 0; spec.shard.index < spec.shard.parts; ++spec.shard.index) {
    Part other;
    locate(spec, begin, part.global_shape[static_cast<std::size_t>(part.section_dim)], other);
    all.push_back(std::move(other.runs));
  }
  return all;
}

Tensor Part::view(const Tensor& of_param) const {
  Tensor shaped = of_param;
  if (of_param.rank != static_cast<int>(param->local_shape.size())) {  // a flat optimizer state
    shaped.rank = param->weight.rank;
    shaped.shape = param->weight.shape;
    shaped.stride = param->weight.stride;
  }
  return shaped.slice(section_dim, local_begin, local_size);
}

std::vector<Part> ParamTable::parts() const {
  std::vector<Part> out;
  for (const Param& param : params_) {
    const ParamSpec& spec = param.spec;
    std::vector<Section> sections = spec.sections;
    if (sections.empty()) sections.push_back({spec.name, spec.shape[spec.section_dim]});
    std::int64_t begin = 0;
    for (const Section& section : sections) {
      Part& part = out.emplace_back();
      part.name = section.name;
      part.param = &param;
      part.global_shape = spec.shape;
      part.global_shape[spec.section_dim] = section.size;
      part.section_dim = spec.section_dim;
      locate(spec, begin, section.size, part);
      begin += section.size;
    }
  }
  return out;
}

}  // namespace strait::core
