#include "kernels/cross_entropy.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/cpu/exp.h"
#include "kernels/cpu/real.h"
#include "kernels/cpu/rows.h"
#include "kernels/cpu/run.h"

namespace strait::kernels::cpu {
namespace {

/// Largest of x[0..n); -inf when empty. Independent lanes, because a lone running maximum does not
/// vectorise where NaN must be honoured.
template <class T>
T row_max(const T* x, std::int64_t n) {
  constexpr std::int64_t kLanes = 32;
  T lanes[kLanes];
  std::fill_n(lanes, kLanes, -std::numeric_limits<T>::infinity());
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (std::int64_t j = 0; j < kLanes; ++j) lanes[j] = x[i + j] > lanes[j] ? x[i + j] : lanes[j];
  }
  for (; i < n; ++i) lanes[0] = std::max(lanes[0], x[i]);
  return *std::max_element(lanes, lanes + kLanes);
}

/// sum of exp(x[i] - shift): short runs in T, their sums in double.
template <class T>
double sum_exp(const T* x, std::int64_t n, T shift) {
  constexpr std::int64_t kRun = 512;
  double total = 0;
  for (std::int64_t begin = 0; begin < n; begin += kRun) {
    const std::int64_t end = std::min(n, begin + kRun);
    T sum = 0;
#pragma omp simd reduction(+ : sum)
    for (std::int64_t i = begin; i < end; ++i) sum += fast_exp(x[i] - shift);
    total += static_cast<double>(sum);
  }
  return total;
}

/// Column of the row's label within this block, or -1.
std::int64_t label_column(std::int32_t label, std::int64_t vocab_begin, std::int64_t vocab) {
  const std::int64_t column = label - vocab_begin;
  return label != kIgnoreLabel && column >= 0 && column < vocab ? column : -1;
}

template <class T>
void merge_row(const CrossEntropyStats& op, std::int64_t n) {
  const std::int64_t vocab = op.logits.shape[1];
  const T* x = op.logits.as<T>() + n * op.logits.stride[0];
  T* stats = op.stats.as<T>() + n * op.stats.stride[0];
  const T old_max = stats[0], new_max = std::max(old_max, row_max(x, vocab));
  // A row of -inf so far has no sum to rescale, and -inf - -inf would be NaN.
  const T shift = std::isinf(new_max) && new_max < 0 ? T(0) : new_max;
  const double kept =
      static_cast<double>(stats[1]) * std::exp(static_cast<double>(old_max - shift));
  stats[0] = new_max;
  stats[1] = static_cast<T>(kept + sum_exp(x, vocab, shift));
  const auto column = label_column(op.labels.as<std::int32_t>()[n], op.vocab_begin, vocab);
  if (column >= 0) stats[2] = x[column];
}

template <class T>
void backward_row(const CrossEntropyBwd& op, std::int64_t n) {
  const std::int64_t vocab = op.logits.shape[1];
  const std::int32_t label = op.labels.as<std::int32_t>()[n];
  const T* x = op.logits.as<T>() + n * op.logits.stride[0];
  T* dx = op.dlogits.as<T>() + n * op.dlogits.stride[0];
  if (label == kIgnoreLabel) {
    std::fill_n(dx, vocab, T(0));
    return;
  }
  const T lse = op.lse.as<T>()[n], scale = scalar_or_one<T>(op.scale);
#pragma omp simd
  for (std::int64_t i = 0; i < vocab; ++i) dx[i] = scale * fast_exp(x[i] - lse);
  const std::int64_t column = label_column(label, op.vocab_begin, vocab);
  if (column >= 0) dx[column] -= scale;
}

}  // namespace

void run(const CrossEntropyStats& op) {
  with_real(op.logits.dtype, CrossEntropyStats::kName, [&](auto real) {
    using T = decltype(real);
    const std::int64_t rows = op.logits.shape[0];
#pragma omp parallel for if (op.logits.numel() > kParallelGrain / 8)
    for (std::int64_t n = 0; n < rows; ++n) merge_row<T>(op, n);
  });
}

void run(const CrossEntropyMerge& op) {
  with_real(op.parts.dtype, CrossEntropyMerge::kName, [&](auto real) {
    using T = decltype(real);
    const std::int64_t blocks = op.parts.shape[0], rows = op.parts.shape[1];
    const T* parts = op.parts.as<T>();
    for (std::int64_t n = 0; n < rows; ++n) {
      const auto of = [&](std::int64_t b) { return parts + (b * rows + n) * 3; };
      T max = of(0)[0], label = 0;
      for (std::int64_t b = 1; b < blocks; ++b) max = std::max(max, of(b)[0]);
      double sum = 0;
      for (std::int64_t b = 0; b < blocks; ++b) {
        if (of(b)[1] != 0) sum += static_cast<double>(of(b)[1]) * std::exp(of(b)[0] - max);
        label += of(b)[2];  // zero in all blocks but one
      }
      T* stats = op.stats.as<T>() + 3 * n;
      stats[0] = max;
      stats[1] = static_cast<T>(sum);
      stats[2] = label;
    }
  });
}

void run(const CrossEntropyLoss& op) {
  with_real(op.stats.dtype, CrossEntropyLoss::kName, [&](auto real) {
    using T = decltype(real);
    const std::int64_t rows = op.stats.shape[0];
    double total = 0;
    for (std::int64_t n = 0; n < rows; ++n) {
      const T* stats = op.stats.as<T>() + n * op.stats.stride[0];
      const double max = stats[0], log_sum = std::log(static_cast<double>(stats[1]));
      op.lse.as<T>()[n] = static_cast<T>(max + log_sum);
      const bool counted = op.labels.as<std::int32_t>()[n] != kIgnoreLabel;
      // The large parts cancel first: lse alone would round away the digits of a small loss.
      const double loss = counted ? (max - static_cast<double>(stats[2])) + log_sum : 0.0;
      if (op.loss.defined()) op.loss.as<T>()[n] = static_cast<T>(loss);
      total += loss;
    }
    op.loss_sum.as<double>()[0] += total;
  });
}

void run(const CrossEntropyBwd& op) {
  with_real(op.logits.dtype, CrossEntropyBwd::kName, [&](auto real) {
    using T = decltype(real);
    const std::int64_t rows = op.logits.shape[0];
#pragma omp parallel for if (op.logits.numel() > kParallelGrain / 8)
    for (std::int64_t n = 0; n < rows; ++n) backward_row<T>(op, n);
  });
}

void run(const CrossEntropyRows& op) {
  with_real(op.logits.dtype, CrossEntropyRows::kName, [&](auto real) {
    using T = decltype(real);
    const std::int64_t rows = op.logits.shape[0];
    std::vector<T> stats(static_cast<std::size_t>(3 * rows)), lse(static_cast<std::size_t>(rows));
    for (std::size_t n = 0; n < lse.size(); ++n) {
      stats[3 * n] = -std::numeric_limits<T>::infinity();
    }
    const Tensor stats_view(stats.data(), kDTypeOf<T>, {rows, 3});
    const Tensor lse_view(lse.data(), kDTypeOf<T>, {rows});
    run(CrossEntropyStats{.logits = op.logits, .labels = op.labels, .stats = stats_view});
    run(CrossEntropyLoss{.stats = stats_view,
                         .labels = op.labels,
                         .lse = lse_view,
                         .loss = op.loss,
                         .loss_sum = op.loss_sum});
    run(CrossEntropyBwd{.logits = op.logits,
                        .labels = op.labels,
                        .lse = lse_view,
                        .dlogits = op.logits,
                        .scale = op.scale});
  });
}

}  // namespace strait::kernels::cpu
