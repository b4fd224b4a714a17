#include <cmath>
#include <limits>
#include <vector>

#include "kernels/cpu/attention_tile.h"
#include "kernels/cpu/cblas.h"
#include "kernels/cpu/real.h"
#include "kernels/cpu/rows.h"
#include "kernels/cpu/run.h"

namespace strait::kernels::cpu {
namespace {

/// Forward of one block and key/value group with a running maximum and sum per row
/// (arXiv 2205.14135, algorithm 1). One instance per thread.
template <class T>
class ForwardTile {
 public:
  ForwardTile(const AttentionFwd& op, std::int64_t block_rows)
      : op_(op),
        heads_(op.q.shape[1] / op.k.shape[1]),
        key_width_(op.q.shape[2]),
        value_width_(op.v.shape[2]),
        q_(heads_ * block_rows * key_width_),
        scores_(heads_ * block_rows * kKeyBlock),
        sums_(heads_ * block_rows * value_width_),
        max_(heads_ * block_rows),
        total_(heads_ * block_rows) {}

  void run(const QueryBlock& block, std::int64_t group) {
    const std::int64_t rows = heads_ * block.rows;
    gather_rows(op_.q, block, group * heads_, heads_, q_.data());
    std::fill(sums_.begin(), sums_.end(), T(0));
    std::fill(max_.begin(), max_.end(), -kInfinity);
    std::fill(total_.begin(), total_.end(), T(0));
    for_each_key_block(op_, block, [&](std::int64_t key, std::int64_t keys) {
      gemm<T>(rows, keys, key_width_, static_cast<T>(op_.scale), {q_.data(), key_width_},
              {head<T>(op_.k, key, group), op_.k.stride[0], true}, T(0), scores_.data(), keys);
      for (std::int64_t r = 0; r < rows; ++r) {
        soften(r, keys, columns_of(op_, block.first + r % block.rows, key, keys));
      }
      gemm<T>(rows, value_width_, keys, T(1), {scores_.data(), keys},
              {head<T>(op_.v, key, group), op_.v.stride[0]}, T(1), sums_.data(), value_width_);
    });
    write(block, group);
  }

 private:
  static constexpr T kInfinity = std::numeric_limits<T>::infinity();

  /// Turns one row of scores into weights relative to the row's running maximum.
  void soften(std::int64_t r, std::int64_t keys, Columns columns) {
    T* scores = scores_.data() + r * keys;
    if (columns.empty()) {
      std::fill_n(scores, keys, T(0));
      return;
    }
    const std::int64_t count = columns.end - columns.begin;
    T most = max_[r];
#pragma omp simd reduction(max : most)
    for (std::int64_t c = columns.begin; c < columns.end; ++c) most = std::max(most, scores[c]);
    const T keep = std::exp(max_[r] - most);
    if (keep != T(1)) {
      T* sums = sums_.data() + r * value_width_;
      for (std::int64_t c = 0; c < value_width_; ++c) sums[c] *= keep;
    }
    max_[r] = most;
    total_[r] = total_[r] * keep + exp_row(scores + columns.begin, count, most);
    std::fill(scores, scores + columns.begin, T(0));
    std::fill(scores + columns.end, scores + keys, T(0));
  }

  void write(const QueryBlock& block, std::int64_t group) {
    const std::int64_t tokens = op_.q.shape[0];
    for (std::int64_t r = 0; r < heads_ * block.rows; ++r) {
      const std::int64_t t = block.first + r % block.rows, h = group * heads_ + r / block.rows;
      const bool empty = total_[r] == T(0);
      const T inverse = empty ? T(0) : T(1) / total_[r];
      const T* sums = sums_.data() + r * value_width_;
      T* o = head<T>(op_.o, t, h);
      for (std::int64_t c = 0; c < value_width_; ++c) o[c] = sums[c] * inverse;
      op_.lse.as<T>()[h * tokens + t] = empty ? -kInfinity : max_[r] + std::log(total_[r]);
    }
  }

  const AttentionFwd& op_;
  std::int64_t heads_, key_width_, value_width_;
  std::vector<T> q_;       // [heads * rows, dk]
  std::vector<T> scores_;  // [heads * rows, keys], then the weights
  std::vector<T> sums_;    // [heads * rows, dv] weighted values
  std::vector<T> max_;     // [heads * rows] running maximum of the scaled scores
  std::vector<T> total_;   // [heads * rows] sum of the weights
};

template <class T>
void attend(const AttentionFwd& op) {
  const std::int64_t groups = op.k.shape[1];
  const std::int64_t block_rows = block_rows_for(op.q.shape[1] / groups);
  const AttentionPlan plan =
      plan_attention(op.kName, op.k_begin, op.k_end, op.k.shape[0], block_rows, kSegmentRows);
  const auto tasks = static_cast<std::int64_t>(plan.blocks.size()) * groups;
#pragma omp parallel if (tasks > 1 && op.q.numel() > kParallelGrain)
  {
    ForwardTile<T> tile(op, block_rows);
#pragma omp for schedule(dynamic)
    for (std::int64_t task = 0; task < tasks; ++task) {
      tile.run(plan.blocks[task / groups], task % groups);
    }
  }
}

}  // namespace

void run(const AttentionFwd& op) {
  with_real(op.q.dtype, op.kName, [&](auto real) { attend<decltype(real)>(op); });
}

}  // namespace strait::kernels::cpu
