#pragma once

#include <vector>

#include "config/config.h"
#include "core/param_table.h"
#include "parallel/communicator.h"

namespace strait::optim {

/// Muon over the matrices of a table: each part of a parameter of the matrix group (q, k, v, gate,
/// up; each expert by itself) is a matrix [out, in] with a momentum, kept in Param::adam_m. Borrows
/// the table's memory: made after the table was allocated, or while it plans. Gradients must be
/// summed over ranks, so that every rank takes the same step. Of a matrix that tensor ranks divide
/// each has a shard: they gather its direction, all orthogonalise the whole, and each moves its
/// shard (Moonlight's way over tensor ranks). Data ranks share whole matrices out (ParamTable).
class Muon {
 public:
  /// Elements that are orthogonalised together, unless one matrix has more: halves of sixteen
  /// results of 2048 x 2048 fill a GPU nine times over, and the memory of the iteration, four times
  /// that at most, stays small beside the weights of models that have so many.
  static constexpr std::int64_t kBatchElements = std::int64_t{1} << 26;

  /// Throws InputError for a parameter that is no matrix, or cut inside over other axes than tp.
  Muon(const core::ParamTable& table, const config::Optim& optim,
       std::int64_t batch_elements = kBatchElements);

  /// One step: weights and momenta change in place. On the device: `grad_scale` [1] f64 multiplies
  /// every gradient, `rates` [4] f64 are those of kernels::adam_rates. `seed` keys the rounding of
  /// momenta in bf16. The iteration runs in bf16 on cuda, else in the dtype of the weights.
  void step(core::Arena& scratch, parallel::Communicator& tensor_ranks, std::uint64_t seed,
            ConstTensor rates, ConstTensor grad_scale, const Stream& stream) const;

 private:
  /// How tensor ranks divide a matrix: what each holds along `dim` of [n, out, in]; dim 0: nothing
  /// is divided.
  struct Cut {
    int dim = 0;
    std::vector<std::vector<core::Run>> runs;
    std::int64_t size(std::size_t rank) const;
  };
  /// Consecutive matrices of one part and their place in a batch. Tensors are this rank's shard
  /// [n, out, in], of no elements where it holds nothing.
  struct Piece {
    Tensor weight, weight_compute, grad, momentum;
    double decay = 0;
    std::int64_t first_index = 0;  // of the first element in the flat parameters
    Cut cut = {};
    std::int64_t begin = 0;  // in the batch
    std::int64_t count() const { return weight.shape[0]; }
    bool empty() const { return weight.numel() == 0; }
  };
  /// Matrices of one shape that are orthogonalised together.
  struct Batch {
    std::int64_t out = 0, in = 0;
    std::int64_t count = 0;
    std::vector<Piece> pieces = {};
  };
  struct Shards;

  void add(const Piece& matrices, std::int64_t out, std::int64_t in);
  std::int64_t most_matrices(std::int64_t out, std::int64_t in) const;
  Batch& batch_with_room(std::int64_t out, std::int64_t in);
  void step(const Batch& batch, core::Arena& scratch, parallel::Communicator& tensor_ranks,
            std::uint64_t seed, ConstTensor rates, ConstTensor grad_scale,
            const Stream& stream) const;

  /// Fills `u` with the divided matrices of a batch, of which each rank has its shards.
  static void gather(const Batch& batch, const Shards& shards, const Tensor& u,
                     parallel::Communicator& tensor_ranks, const Stream& stream);
  /// Moves weights along `direction`; `shards` is where this rank's shards of it may lie.
  void update(const Batch& batch, const Tensor& direction, const Shards& shards, int rank,
              ConstTensor rates, const Stream& stream) const;

  config::Optim optim_;
  DType dtype_;
  std::int64_t batch_elements_;
  std::vector<Batch> batches_;
};

/// What a step of a matrix [out, in] is multiplied by beside the learning rate.
double muon_scale(config::MuonScale scale, std::int64_t out, std::int64_t in);

}  // namespace strait::optim
