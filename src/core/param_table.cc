#include "core/param_table.h"

#include <algorithm>

#include "core/error.h"
#include "core/param_shape.h"
#include "kernels/elementwise.h"

namespace strait::core {
namespace {

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

}  // namespace

std::vector<Axis> grad_axes_of(const Shard& shard) {
  const Axis cut = shard.parts > 1 && shard.dim >= 0 ? shard.axis : Axis::edp;
  if (cut == Axis::tp) return {Axis::dp, Axis::cp};
  if (cut == Axis::ep) return {Axis::edp, Axis::cp, Axis::tp};
  return {Axis::dp, Axis::cp, Axis::tp};
}

ParamTable::ParamTable(const ParamDtypes& dtypes, const StateShares& shares)
    : dtypes_(dtypes), shares_(shares) {}

Param& ParamTable::add(ParamSpec spec) {
  check_spec(spec);
  for (const Param& other : params_) {
    if (other.spec.name == spec.name) {
      throw InputError("parameter " + spec.name + " is registered twice");
    }
  }
  Param& param = params_.emplace_back();
  param.stage = stage_;
  param.local_shape = local_shape_of(spec);
  if (spec.grad_axes.empty()) spec.grad_axes = grad_axes_of(spec.shard);
  param.spec = std::move(spec);
  return param;
}

void ParamTable::bind_trainable(Param& param) {
  const std::int64_t n = product(param.local_shape);
  const auto flat = [&](const Tensor& all, std::int64_t begin) {
    return shaped(all.slice(0, begin, n), param.local_shape);
  };
  param.weight = flat(flat_.weight, param.begin);
  if (dtypes_.training) param.grad = flat(flat_.grad, param.begin);
  param.master = has_masters() ? param.grad : param.weight;
  if (!param.owned()) return;
  if (has_masters()) param.master = flat(flat_.master, param.state_begin);
  if (param.spec.wide) param.weight = param.master;
  if (!dtypes_.training) return;
  param.adam_m = flat_.adam_m.slice(0, param.state_begin, n);
  if (param.v_begin >= 0) param.adam_v = flat_.adam_v.slice(0, param.v_begin, n);
}

void ParamTable::bind_states(const LaidOut& sizes) {
  flat_.grad = gradients_.take(dtypes_.grad, {sizes.all});
  flat_.adam_m = optimizer_.take(dtypes_.state, {sizes.own});
  if (sizes.with_v > 0) flat_.adam_v = optimizer_.take(dtypes_.state, {sizes.with_v});
}

void ParamTable::bind() {
  const DType stat = kernels::stat_dtype(dtypes_.weight);
  const LaidOut sizes = lay_out();
  if (const std::int64_t n = sizes.all; n > 0) {
    flat_.weight = weights_.take(dtypes_.weight, {n});
    flat_.master = has_masters() ? masters_.take(stat, {sizes.own}) : flat_.weight;
    if (dtypes_.training) bind_states(sizes);
  }
  for (Param* param : in_memory_order_) bind_trainable(*param);
  find_cleared();
  for (Param& param : params_) {
    if (param.spec.trainable) continue;
    const Tensor all = weights_.take(stat, {product(param.local_shape)});
    param.weight = param.master = shaped(all, param.local_shape);
  }
}

FlatParams ParamTable::of(const ParamRange& range) const {
  const auto cut = [&](const Tensor& all, std::int64_t begin) {
    return all.slice(0, begin, range.size);
  };
  const Tensor weight = cut(flat_.weight, range.begin);
  return {.weight = weight,
          .grad = cut(flat_.grad, range.begin),
          .master = has_masters() ? cut(flat_.master, range.state_begin) : weight,
          .adam_m = cut(flat_.adam_m, range.state_begin),
          .adam_v = range.v_begin >= 0 ? cut(flat_.adam_v, range.v_begin) : Tensor{}};
}

void ParamTable::find_cleared() {
  cleared_.clear();
  std::int64_t begin = 0, end = 0;  // of the piece that grows
  const auto flush = [&] {
    if (end > begin && flat_.grad.defined())
      cleared_.push_back(flat_.grad.slice(0, begin, end - begin));
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
  if (!has_masters()) return;
  for (const Param* param : in_memory_order_) {
    if (param->spec.wide) continue;
    kernels::launch(kernels::Copy{.x = param->master, .y = param->weight}, stream);
    if (!param->owned()) kernels::launch(kernels::Fill{.x = param->grad, .value = 0}, stream);
  }
}

std::int64_t ParamTable::trainable_elements() const {
  std::int64_t n = 0;
  for (const Param& param : params_) n += param.spec.trainable ? product(param.local_shape) : 0;
  return n;
}

}  // namespace strait::core
