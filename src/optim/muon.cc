#include "optim/muon.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/param_shape.h"
#include "kernels/elementwise.h"
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

/// Whether ranks divide matrices, not whole ones of them.
bool cut_inside(const core::ParamSpec& spec) {
  return spec.shard.dim >= 0 && !(spec.shape.size() == 3 && spec.shard.dim == 0);
}

void check_matrix(const core::ParamSpec& spec) {
  if (spec.shape.size() < 2) {
    throw core::InputError("parameter " + spec.name + ": Muon moves matrices, this has one dim; " +
                           "register it in the vector group");
  }
  if (spec.shard.parts > 1 && cut_inside(spec) && spec.shard.axis != core::Axis::tp) {
    throw core::InputError("parameter " + spec.name + ": Muon gathers matrices over tensor ranks " +
                           "alone, this is cut over " + std::to_string(spec.shard.parts) +
                           " ranks of another axis; divide it over tp or whole, or set " +
                           "optim.kind to adamw");
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
    Cut cut;
    if (param.spec.shard.parts > 1 && cut_inside(param.spec)) {
      cut = {.dim = param.spec.shard.dim + (param.spec.shape.size() == 2 ? 1 : 0),
             .runs = core::runs_of_ranks(part)};
    }
    add({.weight = as_matrices(part.view(param.master)),
         .weight_compute = mixed ? as_matrices(part.view(param.weight)) : Tensor{},
         .grad = as_matrices(part.view(param.grad)),
         .momentum = momentum,
         .decay = param.spec.decay ? optim.weight_decay : 0.0,
         .first_index = first_index(param, momentum),
         .cut = std::move(cut)},
        part.global_shape.end()[-2], part.global_shape.back());
  }
}

std::int64_t Muon::Cut::size(std::size_t rank) const {
  std::int64_t size = 0;
  for (const core::Run& run : runs[rank]) size += run.size;
  return size;
}

/// Where the shards of a batch's divided matrices lie in a buffer as large as the batch: those of
/// each rank one after the other, rank by rank.
struct Muon::Shards {
  Shards(const Batch& batch, const Tensor& buffer, int ranks) : batch_(batch) {
    Tensor rest(buffer.data, buffer.dtype, {buffer.numel()});
    for (int rank = 0; ranks > 1 && rank < ranks; ++rank) {
      Tensor own = rest.slice(0, 0, 0);
      for (const Piece& piece : batch.pieces) {
        const Tensor shard = rest.slice(0, own.numel(), elements(piece, rank));
        shards_.push_back(shard);
        own.shape[0] += shard.numel();
      }
      by_rank.push_back({rank, own});
      rest = rest.slice(0, own.numel(), rest.numel() - own.numel());
    }
  }

  /// [n, out, in] of what `rank` holds of the i-th piece.
  Tensor of(std::size_t i, int rank) const {
    const Piece& piece = batch_.pieces[i];
    const Tensor& flat = shards_[static_cast<std::size_t>(rank) * batch_.pieces.size() + i];
    const std::int64_t size = piece.cut.size(static_cast<std::size_t>(rank));
    return flat.view({piece.count(), piece.cut.dim == 1 ? size : batch_.out,
                      piece.cut.dim == 2 ? size : batch_.in});
  }

  std::vector<parallel::Owned> by_rank;

 private:
  std::int64_t elements(const Piece& piece, int rank) const {
    if (piece.cut.dim == 0) return 0;
    const std::int64_t across = piece.cut.dim == 1 ? batch_.in : batch_.out;
    return piece.count() * across * piece.cut.size(static_cast<std::size_t>(rank));
  }

  const Batch& batch_;
  std::vector<Tensor> shards_;  // flat, [ranks, pieces]
};

std::int64_t Muon::most_matrices(std::int64_t out, std::int64_t in) const {
  return std::max<std::int64_t>(1, batch_elements_ / (out * in));
}

void Muon::add(const Piece& matrices, std::int64_t out, std::int64_t in) {
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
         .cut = matrices.cut,
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

void Muon::step(core::Arena& scratch, parallel::Communicator& tensor_ranks, std::uint64_t seed,
                ConstTensor rates, ConstTensor grad_scale, const Stream& stream) const {
  for (const Batch& batch : batches_) {
    step(batch, scratch, tensor_ranks, seed, rates, grad_scale, stream);
  }
}

void Muon::step(const Batch& batch, core::Arena& scratch, parallel::Communicator& tensor_ranks,
                std::uint64_t seed, ConstTensor rates, ConstTensor grad_scale,
                const Stream& stream) const {
  const core::Frame frame(scratch);
  const DType dtype = stream.device == Device::cuda ? DType::bf16 : dtype_;
  const Tensor u = scratch.take(dtype, {batch.count, batch.out, batch.in}),
               other = scratch.take(dtype, {batch.count, batch.out, batch.in});
  const Shards gathered(batch, other, tensor_ranks.size());
  for (std::size_t i = 0; i < batch.pieces.size(); ++i) {
    const Piece& piece = batch.pieces[i];
    if (piece.empty()) continue;
    launch(kernels::MuonMomentum{.g = piece.grad,
                                 .m = piece.momentum,
                                 .u = piece.cut.dim > 0 ? gathered.of(i, tensor_ranks.rank())
                                                        : u.slice(0, piece.begin, piece.count()),
                                 .grad_scale = grad_scale,
                                 .rates = rates,
                                 .mu = optim_.muon.momentum,
                                 .nesterov = optim_.muon.nesterov,
                                 .seed = seed,
                                 .first_index = piece.first_index},
           stream);
  }
  gather(batch, gathered, u, tensor_ranks, stream);
  const Tensor direction =
      orthogonalise(u, other, quintics(optim_.muon.coefficients), scratch, stream);
  const Tensor& free = direction.data == u.data ? other : u;
  update(batch, direction, Shards(batch, free, tensor_ranks.size()), tensor_ranks.rank(), rates,
         stream);
}

void Muon::gather(const Batch& batch, const Shards& shards, const Tensor& u,
                  parallel::Communicator& tensor_ranks, const Stream& stream) {
  tensor_ranks.share_from_owners(shards.by_rank, stream, "matrices");
  for (std::size_t i = 0; i < batch.pieces.size(); ++i) {
    const Piece& piece = batch.pieces[i];
    const Tensor whole = u.slice(0, piece.begin, piece.count());
    for (std::size_t rank = 0; rank < piece.cut.runs.size(); ++rank) {
      const Tensor shard = shards.of(i, static_cast<int>(rank));
      for (const core::Run& run : piece.cut.runs[rank]) {
        launch(kernels::Copy{.x = shard.slice(piece.cut.dim, run.local, run.size),
                             .y = whole.slice(piece.cut.dim, run.global, run.size)},
               stream);
      }
    }
  }
}

void Muon::update(const Batch& batch, const Tensor& direction, const Shards& shards, int rank,
                  ConstTensor rates, const Stream& stream) const {
  for (std::size_t i = 0; i < batch.pieces.size(); ++i) {
    const Piece& piece = batch.pieces[i];
    if (piece.empty()) continue;
    Tensor o = direction.slice(0, piece.begin, piece.count());
    if (piece.cut.dim > 0) {
      const Tensor own = shards.of(i, rank);
      for (const core::Run& run : piece.cut.runs[static_cast<std::size_t>(rank)]) {
        launch(kernels::Copy{.x = o.slice(piece.cut.dim, run.global, run.size),
                             .y = own.slice(piece.cut.dim, run.local, run.size)},
               stream);
      }
      o = own;
    }
    launch(kernels::MuonUpdate{.w = piece.weight,
                               .o = o,
                               .w_compute = piece.weight_compute,
                               .rates = rates,
                               .scale = muon_scale(optim_.muon.scale, batch.out, batch.in),
                               .decay = piece.decay},
           stream);
  }
}

}  // namespace strait::optim
