#include "core/param_table.h"

#include <array>

#include "core/error.h"
#include "core/rng.h"
#include "kernels/elementwise.h"
#include "kernels/memory.h"

namespace strait::core {
namespace {

std::int64_t product(const std::vector<std::int64_t>& dims) {
  std::int64_t n = 1;
  for (const std::int64_t size : dims) n *= size;
  return n;
}

Tensor take(Arena& arena, DType dtype, const std::vector<std::int64_t>& dims) {
  switch (dims.size()) {
    case 1:
      return arena.take(dtype, {dims[0]});
    case 2:
      return arena.take(dtype, {dims[0], dims[1]});
    default:
      return arena.take(dtype, {dims[0], dims[1], dims[2]});
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

/// Row-major index in the part's global tensor of each local element, visited in local order.
template <class Visit>
void for_each_element(const Part& part, const Shard& shard, Visit&& visit) {
  std::array<std::int64_t, 3> global{1, 1, 1}, local{1, 1, 1}, begin{};
  const int rank = static_cast<int>(part.global_shape.size());
  for (int i = 0; i < rank; ++i) global[i] = local[i] = part.global_shape[i];
  if (shard.dim >= 0) {
    local[shard.dim] /= shard.parts;
    begin[shard.dim] = local[shard.dim] * shard.index;
  }
  for (std::int64_t a = 0; a < local[0]; ++a) {
    for (std::int64_t b = 0; b < local[1]; ++b) {
      const std::int64_t row = ((a + begin[0]) * global[1] + b + begin[1]) * global[2] + begin[2];
      for (std::int64_t c = 0; c < local[2]; ++c) visit(std::array{a, b, c}, row + c);
    }
  }
}

/// Writes the initial values of one part into host memory laid out as the local parameter.
template <class Real>
void fill_part(const Part& part, std::uint64_t seed, Real* host) {
  const Param& param = *part.param;
  const Rng rng(seed, "init/" + part.name);
  Tensor view = param.master;
  view.data = host;
  view = part.view(view);
  for_each_element(part, param.spec.shard, [&](std::array<std::int64_t, 3> at, std::int64_t index) {
    std::int64_t offset = 0;
    for (int i = 0; i < view.rank; ++i) offset += at[i] * view.stride[i];
    const Init& init = param.spec.init;
    const double value = init.kind == Init::Kind::constant
                             ? init.value
                             : init.value * rng.normal(static_cast<std::uint64_t>(index));
    view.as<Real>()[offset] = static_cast<Real>(value);
  });
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

ParamTable::ParamTable(DType dtype, DType grad_dtype) : dtype_(dtype), grad_dtype_(grad_dtype) {}

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

void ParamTable::bind() {
  const DType state = kernels::stat_dtype(dtype_);
  const std::size_t begin = gradients_.mark();
  for (Param& param : params_) {
    const DType dtype = param.spec.trainable ? dtype_ : state;
    param.weight = param.master = take(weights_, dtype, param.local_shape);
    if (!param.spec.trainable) continue;
    if (has_masters()) param.master = take(masters_, state, param.local_shape);
    param.grad = take(gradients_, grad_dtype_, param.local_shape);
    param.adam_m = optimizer_.take(state, {product(param.local_shape)});
    param.adam_v = optimizer_.take(state, {product(param.local_shape)});
  }
  if (params_.empty()) return;
  const auto bytes = gradients_.mark() - begin;
  flat_grads_ =
      Tensor(nullptr, grad_dtype_, {static_cast<std::int64_t>(bytes / size_of(grad_dtype_))});
  for (const Param& param : params_) {
    if (param.spec.trainable && !flat_grads_.defined()) flat_grads_.data = param.grad.data;
  }
}

void ParamTable::allocate(Device device) {
  bind();
  for (Arena* arena : {&weights_, &masters_, &gradients_, &optimizer_}) arena->allocate(device);
  if (device == Device::plan) return;
  bind();
  const Stream stream{device};
  const auto zero = [&](const Tensor& flat) {
    if (flat.defined()) kernels::launch(kernels::Fill{.x = flat, .value = 0}, stream);
  };
  zero(flat_grads_);
  for (const Param& param : params_) {
    zero(param.adam_m);
    zero(param.adam_v);
  }
}

void ParamTable::initialise(std::uint64_t seed, const Stream& stream) {
  if (stream.device == Device::plan) return;
  std::vector<char> host;
  const std::vector<Part> all = parts();
  for (const Param& param : params_) {
    host.assign(param.master.bytes(), 0);
    for (const Part& part : all) {
      if (part.param != &param) continue;
      if (param.master.dtype == DType::f64) {
        fill_part(part, seed, reinterpret_cast<double*>(host.data()));
      } else {
        fill_part(part, seed, reinterpret_cast<float*>(host.data()));
      }
    }
    kernels::copy_to_device(param.master.data, host.data(), host.size(), stream);
    kernels::synchronise(stream);
  }
  refresh_weights(stream);
}

void ParamTable::refresh_weights(const Stream& stream) {
  for (const Param& param : params_) {
    if (param.master.data == param.weight.data) continue;
    kernels::launch(kernels::Copy{.x = param.master, .y = param.weight}, stream);
  }
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
