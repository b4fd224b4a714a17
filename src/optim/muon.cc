#include "optim/muon.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "kernels/muon.h"
#include "optim/newton_schulz.h"

namespace strait::optim {
namespace {

using kernels::launch;

/// [out, in] as [1, out, in]; experts are three dims already.
Tensor as_matrices(const Tensor& view) {
  if (!view.defined() || view.rank == 3) return view;
  Tensor out = view;
  out.rank = 3;
  out.shape = {1, view.shape[0], view.shape[1]};
  out.stride = {view.shape[0] * view.stride[0], view.stride[0], view.stride[1]};
  return out;
}

void check_matrix(const core::ParamSpec& spec) {
  if (spec.shape.size() < 2) {
    throw core::InputError("parameter " + spec.name + ": Muon moves matrices, this has one dim; " +
                           "register it in the vector group");
  }
  const bool experts_whole = spec.shape.size() == 3 && spec.shard.dim == 0;
  if (spec.shard.parts > 1 && !experts_whole) {
    throw core::InputError("parameter " + spec.name + ": Muon needs whole matrices, this is cut " +
                           "over " + std::to_string(spec.shard.parts) +
                           " ranks; set parallel.tp to 1 or optim.kind to adamw");
  }
}

/// Place of a part's momentum in the flat tensors.
std::int64_t first_index(const core::Param& param, const Tensor& momentum) {
  const auto* const whole = static_cast<const char*>(param.adam_m.data);
  const std::int64_t bytes = static_cast<const char*>(momentum.data) - whole;
  return param.begin + bytes / static_cast<std::int64_t>(kernels::size_of(momentum.dtype));
}

}  // namespace

double muon_scale(config::MuonScale scale, std::int64_t out, std::int64_t in) {
  const double ratio = static_cast<double>(out) / static_cast<double>(in);
  switch (scale) {
    case config::MuonScale::adamw_rms:
      return 0.2 * std::sqrt(static_cast<double>(std::max(out, in)));
    case config::MuonScale::aspect:
      return std::sqrt(std::max(1.0, ratio));
    case config::MuonScale::unit_rms:
      return std::sqrt(ratio);
  }
  return 1;
}

Muon::Muon(const core::ParamTable& table, const config::Optim& optim, std::int64_t batch_elements)
    : optim_(optim), dtype_(table.dtype()), batch_elements_(batch_elements) {
  for (const core::Part& part : table.parts()) {
    const core::Param& param = *part.param;
    if (!param.owned() || param.spec.group != core::OptimGroup::matrix) continue;
    check_matrix(param.spec);
    const bool mixed = param.master.data != param.weight.data;
    const Tensor momentum = as_matrices(part.view(param.adam_m));
    add({.weight = as_matrices(part.view(param.master)),
         .weight_compute = mixed ? as_matrices(part.view(param.weight)) : Tensor{},
         .grad = as_matrices(part.view(param.grad)),
         .momentum = momentum,
         .decay = param.spec.decay ? optim.weight_decay : 0.0,
         .first_index = first_index(param, momentum)});
  }
}

std::int64_t Muon::most_matrices(std::int64_t out, std::int64_t in) const {
  return std::max<std::int64_t>(1, batch_elements_ / (out * in));
}

void Muon::add(const Piece& matrices) {
  const std::int64_t out = matrices.weight.shape[1], in = matrices.weight.shape[2];
  for (std::int64_t begin = 0; begin < matrices.count();) {
    Batch& batch = batch_with_room(out, in);
    const std::int64_t n = std::min(matrices.count() - begin, most_matrices(out, in) - batch.count);
    const auto cut = [&](const Tensor& t) { return t.defined() ? t.slice(0, begin, n) : t; };
    batch.pieces.push_back(
        {.weight = cut(matrices.weight),
         .weight_compute = cut(matrices.weight_compute),
         .grad = cut(matrices.grad),
         .momentum = cut(matrices.momentum),
         .decay = matrices.decay,
         .first_index = matrices.first_index + begin * matrices.momentum.stride[0],
         .begin = batch.count});
    batch.count += n;
    begin += n;
  }
}

Muon::Batch& Muon::batch_with_room(std::int64_t out, std::int64_t in) {
  for (Batch& batch : batches_) {
    if (batch.out == out && batch.in == in && batch.count < most_matrices(out, in)) return batch;
  }
  return batches_.emplace_back(Batch{.out = out, .in = in});
}

void Muon::step(core::Arena& scratch, std::uint64_t seed, ConstTensor rates, ConstTensor grad_scale,
                const Stream& stream) const {
  for (const Batch& batch : batches_) step(batch, scratch, seed, rates, grad_scale, stream);
}

void Muon::step(const Batch& batch, core::Arena& scratch, std::uint64_t seed, ConstTensor rates,
                ConstTensor grad_scale, const Stream& stream) const {
  const core::Frame frame(scratch);
  const DType dtype = stream.device == Device::cuda ? DType::bf16 : dtype_;
  const Tensor u = scratch.take(dtype, {batch.count, batch.out, batch.in}),
               other = scratch.take(dtype, {batch.count, batch.out, batch.in});
  for (const Piece& piece : batch.pieces) {
    launch(kernels::MuonMomentum{.g = piece.grad,
                                 .m = piece.momentum,
                                 .u = u.slice(0, piece.begin, piece.count()),
                                 .grad_scale = grad_scale,
                                 .rates = rates,
                                 .mu = optim_.muon.momentum,
                                 .nesterov = optim_.muon.nesterov,
                                 .seed = seed,
                                 .first_index = piece.first_index},
           stream);
  }
  const Tensor direction =
      orthogonalise(u, other, quintics(optim_.muon.coefficients), scratch, stream);
  for (const Piece& piece : batch.pieces) {
    launch(kernels::MuonUpdate{.w = piece.weight,
                               .o = direction.slice(0, piece.begin, piece.count()),
                               .w_compute = piece.weight_compute,
                               .rates = rates,
                               .scale = muon_scale(optim_.muon.scale, batch.out, batch.in),
                               .decay = piece.decay},
           stream);
  }
}

}  // namespace strait::optim
