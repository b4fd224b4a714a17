#pragma once

#include <vector>

#include "config/config.h"
#include "core/param_table.h"

namespace strait::optim {

/// Muon over the matrices of a table: each part of a parameter of the matrix group (q, k, v, gate,
/// up; each expert by itself) is a matrix [out, in] with a momentum, kept in Param::adam_m. Borrows
/// the table's memory: made after the table was allocated, or while it plans. Gradients must be
/// summed over ranks, so that every rank takes the same step.
class Muon {
 public:
  /// Elements that are orthogonalised together, unless one matrix has more: enough to fill a GPU,
  /// and the memory of the iteration, four times that at most, stays small beside the weights.
  static constexpr std::int64_t kBatchElements = std::int64_t{1} << 24;

  /// Throws InputError for a matrix that is cut over ranks or has no two dims.
  Muon(const core::ParamTable& table, const config::Optim& optim,
       std::int64_t batch_elements = kBatchElements);

  /// One step: weights and momenta change in place. On the device: `grad_scale` [1] f64 multiplies
  /// every gradient, `rates` [4] f64 are those of kernels::adam_rates. `seed` keys the rounding of
  /// momenta in bf16. The iteration runs in bf16 on cuda, else in the dtype of the weights.
  void step(core::Arena& scratch, std::uint64_t seed, ConstTensor rates, ConstTensor grad_scale,
            const Stream& stream) const;

 private:
  /// Consecutive matrices of one part, [n, out, in], and their place in a batch.
  struct Piece {
    Tensor weight, weight_compute, grad, momentum;
    double decay = 0;
    std::int64_t first_index = 0;  // of the first element in the flat parameters
    std::int64_t begin = 0;        // in the batch
    std::int64_t count() const { return weight.shape[0]; }
  };
  /// Matrices of one shape that are orthogonalised together.
  struct Batch {
    std::int64_t out = 0, in = 0;
    std::int64_t count = 0;
    std::vector<Piece> pieces = {};
  };

  void add(const Piece& matrices);
  std::int64_t most_matrices(std::int64_t out, std::int64_t in) const;
  Batch& batch_with_room(std::int64_t out, std::int64_t in);
  void step(const Batch& batch, core::Arena& scratch, std::uint64_t seed, ConstTensor rates,
            ConstTensor grad_scale, const Stream& stream) const;

  config::Optim optim_;
  DType dtype_;
  std::int64_t batch_elements_;
  std::vector<Batch> batches_;
};

/// What a step of a matrix [out, in] is multiplied by beside the learning rate.
double muon_scale(config::MuonScale scale, std::int64_t out, std::int64_t in);

}  // namespace strait::optim
