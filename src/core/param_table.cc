#include "core/param_table.h"

#include <algorithm>
#include <functional>
#include <tuple>

#include "core/error.h"
#include "kernels/elementwise.h"

namespace strait::core {
namespace {

std::int64_t product(const std::vector<std::int64_t>& dims) {
  std::int64_t n = 1;
  for (const std::int64_t size : dims) n *= size;
  return n;
}

/// Parameters begin at multiples of this, so that every flat tensor is aligned to 256 bytes there.
constexpr std::int64_t kAlignElements = 128;

std::int64_t padded(std::int64_t elements) {
  return (elements + kAlignElements - 1) / kAlignElements * kAlignElements;
}

/// The flat tensor as one of `dims`.
Tensor shaped(const Tensor& flat, const std::vector<std::int64_t>& dims) {
  switch (dims.size()) {
    case 1:
      return Tensor(flat.data, flat.dtype, {dims[0]});
    case 2:
      return Tensor(flat.data, flat.dtype, {dims[0], dims[1]});
    default:
      return Tensor(flat.data, flat.dtype, {dims[0], dims[1], dims[2]});
  }
}

void check_spec(const ParamSpec& spec) {
  if (spec.shape.empty() || spec.shape.size() > 3) {
    throw InputError("parameter " + spec.name + ": rank must be 1 to 3, got " +
                     std::to_string(spec.shape.size()));
  }
  std::int64_t rows = 0;
  for (const Section& section : spec.sections) rows += section.size;
  if (!spec.sections.empty() && rows != spec.shape[spec.section_dim]) {
    throw InputError("parameter " + spec.name + ": sections hold " + std::to_string(rows) +
                     " rows, the parameter has " + std::to_string(spec.shape[spec.section_dim]));
  }
}

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

std::vector<std::int64_t> local_shape_of(const ParamSpec& spec) {
  std::vector<std::int64_t> shape = spec.shape;
  if (spec.shard.dim < 0) return shape;
  shape[spec.shard.dim] = 0;
  for (const Run& run : runs_of(spec)) shape[spec.shard.dim] += run.size;
  return shape;
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

std::vector<Axis> grad_axes_of(const Shard& shard) {
  const Axis cut = shard.parts > 1 && shard.dim >= 0 ? shard.axis : Axis::edp;
  if (cut == Axis::tp) return {Axis::dp, Axis::cp};
  if (cut == Axis::ep) return {Axis::edp, Axis::cp, Axis::tp};
  return {Axis::dp, Axis::cp, Axis::tp};
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

FlatParams FlatParams::slice(std::int64_t begin, std::int64_t size) const {
  const auto cut = [&](const Tensor& t) { return t.slice(0, begin, size); };
  const bool has_v = begin >= v_begin && adam_v.defined();
  return {.weight = cut(weight),
          .master = cut(master),
          .grad = cut(grad),
          .adam_m = cut(adam_m),
          .adam_v = has_v ? adam_v.slice(0, begin - v_begin, size) : Tensor{}};
}

ParamTable::ParamTable(const ParamDtypes& dtypes) : dtypes_(dtypes) {}

Param& ParamTable::add(ParamSpec spec) {
  check_spec(spec);
  for (const Param& other : params_) {
    if (other.spec.name == spec.name) {
      throw InputError("parameter " + spec.name + " is registered twice");
    }
  }
  Param& param = params_.emplace_back();
  param.local_shape = local_shape_of(spec);
  if (spec.grad_axes.empty()) spec.grad_axes = grad_axes_of(spec.shard);
  param.spec = std::move(spec);
  return param;
}

std::int64_t ParamTable::lay_out() {
  in_memory_order_.clear();
  ranges_.clear();
  gradient_runs_.clear();
  for (Param& param : params_) {
    if (param.spec.trainable) in_memory_order_.push_back(&param);
  }
  const auto key = [](const Param* p) {
    return std::tuple(p->spec.group, p->spec.decay, p->spec.grad_axes, p->spec.whole_grad);
  };
  std::ranges::stable_sort(in_memory_order_, std::ranges::greater{}, key);
  std::int64_t elements = 0;
  for (Param* param : in_memory_order_) {
    param->begin = elements;
    const std::int64_t n = padded(product(param->local_shape));
    const auto [group, decay, axes, whole_grad] = key(param);
    if (ranges_.empty() || ranges_.back().group != group || ranges_.back().decay != decay) {
      ranges_.push_back({group, decay, elements, 0});
    }
    ranges_.back().size += n;
    if (gradient_runs_.empty() || gradient_runs_.back().axes != axes) {
      gradient_runs_.push_back({axes, elements, 0});
    }
    gradient_runs_.back().size += n;
    elements += n;
  }
  return elements;
}

/// Matrices come first in memory.
std::int64_t ParamTable::elements_without_v() const {
  std::int64_t n = 0;
  for (const ParamRange& range : ranges_) n += range.group == OptimGroup::matrix ? range.size : 0;
  return dtypes_.matrix_adam_v ? 0 : n;
}

void ParamTable::bind_trainable(Param& param) {
  const FlatParams own = flat_.slice(param.begin, product(param.local_shape));
  param.master = shaped(own.master, param.local_shape);
  param.weight = param.spec.wide ? param.master : shaped(own.weight, param.local_shape);
  param.grad = shaped(own.grad, param.local_shape);
  param.adam_m = own.adam_m;
  param.adam_v = own.adam_v;
}

void ParamTable::bind() {
  const DType stat = kernels::stat_dtype(dtypes_.weight);
  if (const std::int64_t n = lay_out(); n > 0) {
    flat_.weight = weights_.take(dtypes_.weight, {n});
    flat_.master = has_masters() ? masters_.take(stat, {n}) : flat_.weight;
    flat_.grad = gradients_.take(dtypes_.grad, {n});
    flat_.adam_m = optimizer_.take(dtypes_.state, {n});
    flat_.v_begin = elements_without_v();
    if (flat_.v_begin < n) flat_.adam_v = optimizer_.take(dtypes_.state, {n - flat_.v_begin});
  }
  for (Param* param : in_memory_order_) bind_trainable(*param);
  find_cleared();
  for (Param& param : params_) {
    if (param.spec.trainable) continue;
    const Tensor all = weights_.take(stat, {product(param.local_shape)});
    param.weight = param.master = shaped(all, param.local_shape);
  }
}

void ParamTable::find_cleared() {
  cleared_.clear();
  std::int64_t begin = 0, end = 0;  // of the piece that grows
  const auto flush = [&] {
    if (end > begin) cleared_.push_back(flat_.grad.slice(0, begin, end - begin));
  };
  for (const Param* param : in_memory_order_) {
    if (param->spec.whole_grad) continue;
    if (param->begin != end) {
      flush();
      begin = param->begin;
    }
    end = param->begin + padded(product(param->local_shape));
  }
  flush();
}

void ParamTable::begin_gradients() {
  for (Param* param : in_memory_order_) param->grad_spent = param->spec.whole_grad;
}

void ParamTable::allocate(Device device) {
  bind();
  for (Arena* arena : {&weights_, &masters_, &gradients_, &optimizer_}) arena->allocate(device);
  if (device == Device::plan) return;
  bind();
  const Stream stream{device};
  for (const Tensor& flat : {flat_.weight, flat_.master, flat_.grad, flat_.adam_m, flat_.adam_v}) {
    if (flat.defined()) kernels::launch(kernels::Fill{.x = flat, .value = 0}, stream);
  }
}

void ParamTable::refresh_weights(const Stream& stream) {
  if (!has_masters() || !flat_.master.defined()) return;
  kernels::launch(kernels::Copy{.x = flat_.master, .y = flat_.weight}, stream);
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

std::int64_t ParamTable::trainable_elements() const {
  std::int64_t n = 0;
  for (const Param& param : params_) n += param.spec.trainable ? product(param.local_shape) : 0;
  return n;
}

}  // namespace strait::core
