#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernels/tensor.h"

// Walking tensors row by row, and sums over rows that do not depend on the number of threads.
namespace strait::kernels::cpu {

/// Elements of work below which a parallel region costs more than it saves.
inline constexpr std::int64_t kParallelGrain = 1 << 14;

/// Offset in elements of row `row`, counting rows over all dims but the last.
inline std::int64_t row_offset(const ConstTensor& x, std::int64_t row) {
  std::int64_t offset = 0;
  for (int i = x.rank - 2; i >= 0; --i) {
    offset += (row % x.shape[i]) * x.stride[i];
    row /= x.shape[i];
  }
  return offset;
}

/// Calls body(row, begin, length) in parallel for pieces of rows covering `shape_of`. When `flat`
/// (every tensor involved is contiguous) all of it is one row.
template <class Body>
void for_each_span(const ConstTensor& shape_of, bool flat, Body&& body) {
  constexpr std::int64_t kSpan = 1 << 12;
  const std::int64_t total = shape_of.numel();
  if (total == 0) return;
  const std::int64_t width = flat ? total : shape_of.shape[shape_of.rank - 1];
  const std::int64_t spans = (width + kSpan - 1) / kSpan, pieces = total / width * spans;
#pragma omp parallel for if (total > kParallelGrain)
  for (std::int64_t i = 0; i < pieces; ++i) {
    const std::int64_t begin = i % spans * kSpan;
    body(i / spans, begin, std::min(kSpan, width - begin));
  }
}

/// y += sum_k weight[t,k] rows[row_of[t,k]], k in order; absent weight means 1.
template <class T>
void add_expert_rows(const ConstTensor& rows, const ConstTensor& row_of, const ConstTensor& weight,
                     std::int64_t t, T* y) {
  const std::int64_t chosen = row_of.shape[1], width = rows.shape[1];
  for (std::int64_t choice = t * chosen; choice < (t + 1) * chosen; ++choice) {
    const T* row = rows.as<T>() + row_of.as<std::int32_t>()[choice] * rows.stride[0];
    const T w = weight.defined() ? weight.as<T>()[choice] : T(1);
    for (std::int64_t i = 0; i < width; ++i) y[i] += w * row[i];
  }
}

/// Sums of a row-parallel loop into one vector of `width`: the rows are cut into at most kBlocks
/// runs by their count alone, each run sums into its own copy, and the copies are added in order.
template <class T>
class RowBlocks {
 public:
  static constexpr std::int64_t kBlocks = 32;

  /// With width 0 only the cut into runs is used.
  RowBlocks(std::int64_t rows, std::int64_t width)
      : rows_(rows),
        width_(width),
        length_(std::max<std::int64_t>(1, (rows + kBlocks - 1) / kBlocks)),
        count_((rows + length_ - 1) / length_),
        sums_(static_cast<std::size_t>(count_ * width)) {}

  std::int64_t count() const { return count_; }
  std::int64_t begin(std::int64_t block) const { return block * length_; }
  std::int64_t end(std::int64_t block) const { return std::min(rows_, (block + 1) * length_); }
  T* sums(std::int64_t block) { return sums_.data() + block * width_; }

  /// out[j] += the sum over blocks, itself taken in double.
  void add_to(T* out) const { add_to(out, 0, width_); }
  /// As add_to, of the columns [first, first + width) alone.
  void add_to(T* out, std::int64_t first, std::int64_t width) const {
#pragma omp parallel for if (count_ * width > kParallelGrain)
    for (std::int64_t j = 0; j < width; ++j) {
      double sum = 0;
      for (std::int64_t b = 0; b < count_; ++b) sum += sums_[b * width_ + first + j];
      out[j] += static_cast<T>(sum);
    }
  }

 private:
  std::int64_t rows_, width_, length_, count_;
  std::vector<T> sums_;  // [count, width]
};

}  // namespace strait::kernels::cpu
