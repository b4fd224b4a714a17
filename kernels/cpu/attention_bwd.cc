#include <vector>

#include "kernels/cpu/attention_tile.h"
#include "kernels/cpu/cblas.h"
#include "kernels/cpu/real.h"
#include "kernels/cpu/rows.h"
#include "kernels/cpu/run.h"

namespace strait::kernels::cpu {
namespace {

/// Backward of one block and key/value group: weights again from lse, then
/// ds = p (dout v^T - rowsum(dout o)) (arXiv 2307.08691, algorithm 2). One instance per thread.
template <class T>
class BackwardTile {
 public:
  BackwardTile(const AttentionBwd& op, std::int64_t block_rows)
      : op_(op),
        heads_(op.q.shape[1] / op.k.shape[1]),
        key_width_(op.q.shape[2]),
        value_width_(op.v.shape[2]),
        q_(heads_ * block_rows * key_width_),
        dout_(heads_ * block_rows * value_width_),
        dq_(heads_ * block_rows * key_width_),
        p_(heads_ * block_rows * kKeyBlock),
        ds_(heads_ * block_rows * kKeyBlock),
        lse_(heads_ * block_rows),
        delta_(heads_ * block_rows) {}

  /// Assigns the block's dq, adds to dk and dv.
  void run(const QueryBlock& block, std::int64_t group) {
    load(block, group);
    const std::int64_t rows = heads_ * block.rows;
    const T scale = static_cast<T>(op_.scale);
    for_each_key_block(op_, block, [&](std::int64_t key, std::int64_t keys) {
      const Operand<T> k{head<T>(op_.k, key, group), op_.k.stride[0]};
      const Operand<T> v{head<T>(op_.v, key, group), op_.v.stride[0]};
      gemm<T>(rows, keys, key_width_, scale, {q_.data(), key_width_}, {k.data, k.stride, true},
              T(0), p_.data(), keys);
      gemm<T>(rows, keys, value_width_, T(1), {dout_.data(), value_width_},
              {v.data, v.stride, true}, T(0), ds_.data(), keys);
      for (std::int64_t r = 0; r < rows; ++r) {
        differentiate(r, keys, columns_of(op_, block.first + r % block.rows, key, keys));
      }
      gemm<T>(keys, value_width_, rows, T(1), {p_.data(), keys, true}, {dout_.data(), value_width_},
              T(1), head<T>(op_.dv, key, group), op_.dv.stride[0]);
      gemm<T>(rows, key_width_, keys, scale, {ds_.data(), keys}, k, T(1), dq_.data(), key_width_);
      gemm<T>(keys, key_width_, rows, scale, {ds_.data(), keys, true}, {q_.data(), key_width_},
              T(1), head<T>(op_.dk, key, group), op_.dk.stride[0]);
    });
    const T* dq = dq_.data();
    for (std::int64_t r = 0; r < rows; ++r, dq += key_width_) {
      std::copy_n(dq, key_width_,
                  head<T>(op_.dq, block.first + r % block.rows, group * heads_ + r / block.rows));
    }
  }

 private:
  void load(const QueryBlock& block, std::int64_t group) {
    gather_rows(op_.q, block, group * heads_, heads_, q_.data());
    gather_rows(op_.dout, block, group * heads_, heads_, dout_.data());
    std::fill(dq_.begin(), dq_.end(), T(0));
    for (std::int64_t r = 0; r < heads_ * block.rows; ++r) {
      const std::int64_t t = block.first + r % block.rows, h = group * heads_ + r / block.rows;
      const T* o = head<T>(op_.o, t, h);
      const T* dout = dout_.data() + r * value_width_;
      T sum = 0;
#pragma omp simd reduction(+ : sum)
      for (std::int64_t c = 0; c < value_width_; ++c) sum += dout[c] * o[c];
      delta_[r] = sum;
      lse_[r] = op_.lse.as<T>()[h * op_.q.shape[0] + t];
    }
  }

  /// One row: scores become weights, gradients of the weights become gradients of the scores.
  void differentiate(std::int64_t r, std::int64_t keys, Columns columns) {
    T* p = p_.data() + r * keys;
    T* ds = ds_.data() + r * keys;
    if (columns.empty()) columns = {0, 0};
    exp_row(p + columns.begin, columns.end - columns.begin, lse_[r]);
    std::fill(p, p + columns.begin, T(0));
    std::fill(p + columns.end, p + keys, T(0));
    // Outside the interval p is 0, and ds with it.
    const T delta = delta_[r];
#pragma omp simd
    for (std::int64_t c = 0; c < keys; ++c) ds[c] = p[c] * (ds[c] - delta);
  }

  const AttentionBwd& op_;
  std::int64_t heads_, key_width_, value_width_;
  std::vector<T> q_;      // [heads * rows, dk]
  std::vector<T> dout_;   // [heads * rows, dv]
  std::vector<T> dq_;     // [heads * rows, dk]
  std::vector<T> p_;      // [heads * rows, keys] scores, then weights
  std::vector<T> ds_;     // [heads * rows, keys] gradients of weights, then of scores / scale
  std::vector<T> lse_;    // [heads * rows]
  std::vector<T> delta_;  // [heads * rows] dout . o
};

template <class T>
void fill_zero(const Tensor& x) {
#pragma omp parallel for schedule(static) if (x.numel() > kParallelGrain)
  for (std::int64_t row = 0; row < x.shape[0]; ++row) {
    for (std::int64_t h = 0; h < x.shape[1]; ++h) {
      std::fill_n(head<T>(x, row, h), x.shape[2], T(0));
    }
  }
}

template <class T>
void differentiate(const AttentionBwd& op) {
  const std::int64_t groups = op.k.shape[1];
  const std::int64_t block_rows = block_rows_for(op.q.shape[1] / groups);
  const AttentionPlan plan =
      plan_attention(op.kName, op.k_begin, op.k_end, op.k.shape[0], block_rows, kSegmentRows);
  fill_zero<T>(op.dk);
  fill_zero<T>(op.dv);
  const auto tasks = static_cast<std::int64_t>(plan.segments.size()) * groups;
#pragma omp parallel if (tasks > 1 && op.q.numel() > kParallelGrain)
  {
    BackwardTile<T> tile(op, block_rows);
#pragma omp for schedule(dynamic)
    for (std::int64_t task = 0; task < tasks; ++task) {
      const Segment& segment = plan.segments[task / groups];
      for (std::size_t b = segment.begin; b < segment.end; ++b) {
        tile.run(plan.blocks[b], task % groups);
      }
    }
  }
}

}  // namespace

void run(const AttentionBwd& op) {
  with_real(op.q.dtype, op.kName, [&](auto real) { differentiate<decltype(real)>(op); });
}

}  // namespace strait::kernels::cpu
