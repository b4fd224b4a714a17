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

void check_divides(const ParamSpec& spec, std::int64_t size, const std::string& what) {
  if (size % spec.shard.parts != 0) {
    throw InputError("parameter " + what + ": " + std::to_string(size) +
                     " rows do not divide over " + std::to_string(spec.shard.parts) +
                     " ranks; lower parallel.tp or parallel.ep");
  }
}

std::vector<std::int64_t> local_shape_of(const ParamSpec& spec) {
  std::vector<std::int64_t> shape = spec.shape;
  if (spec.shard.dim < 0) return shape;
  check_divides(spec, shape[spec.shard.dim], spec.name);
  if (spec.shard.dim == spec.section_dim) {
    for (const Section& section : spec.sections) check_divides(spec, section.size, section.name);
  }
  shape[spec.shard.dim] /= spec.shard.parts;
  return shape;
}

}  // namespace

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
  param.spec = std::move(spec);
  return param;
}

std::int64_t ParamTable::lay_out() {
  in_memory_order_.clear();
  ranges_.clear();
  for (Param& param : params_) {
    if (param.spec.trainable) in_memory_order_.push_back(&param);
  }
  const auto key = [](const Param* p) {
    return std::tuple(p->spec.group, p->spec.decay, p->spec.whole_grad);
  };
  std::ranges::stable_sort(in_memory_order_, std::ranges::greater{}, key);
  std::int64_t elements = 0;
  for (Param* param : in_memory_order_) {
    param->begin = elements;
    const std::int64_t n = padded(product(param->local_shape));
    const auto [group, decay, whole_grad] = key(param);
    if (ranges_.empty() || ranges_.back().group != group || ranges_.back().decay != decay) {
      ranges_.push_back({group, decay, elements, 0});
    }
    ranges_.back().size += n;
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
    const int divisor = spec.shard.dim == spec.section_dim ? spec.shard.parts : 1;
    std::int64_t begin = 0;
    for (const Section& section : sections) {
      Part part{section.name, &param, spec.shape, spec.section_dim, begin, section.size / divisor};
      part.global_shape[spec.section_dim] = section.size;
      begin += part.local_size;
      out.push_back(std::move(part));
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
