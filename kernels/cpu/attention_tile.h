#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/cpu/attention_plan.h"
#include "kernels/cpu/exp.h"
#include "kernels/cpu/head.h"
#include "kernels/tensor.h"

// Pieces shared by the CPU attention forward and backward. A tile holds the query rows of a block
// for all heads of one key/value group, head by head, so that each product covers the whole group.
namespace strait::kernels::cpu {

/// Keys handled at a time: bounds the workspace whatever the sequence length.
inline constexpr std::int64_t kKeyBlock = 256;
/// Rows of a tile aimed at, over all heads of a group: its scores stay in the second-level cache.
inline constexpr std::int64_t kTileRows = 64;
/// Shortest run of queries cut off as a segment of its own.
inline constexpr std::int64_t kSegmentRows = 128;

inline std::int64_t block_rows_for(std::int64_t heads_per_group) {
  return std::clamp<std::int64_t>(kTileRows / heads_per_group, 16, 64);
}

/// Columns [begin, end) of the keys [key, key + keys) that one query row attends to.
struct Columns {
  std::int64_t begin, end;
  bool empty() const { return begin >= end; }
};

template <class Op>
Columns columns_of(const Op& op, std::int64_t row, std::int64_t key, std::int64_t keys) {
  const std::int64_t begin = op.k_begin.template as<std::int32_t>()[row] - key;
  const std::int64_t end = op.k_end.template as<std::int32_t>()[row] - key;
  return {std::max<std::int64_t>(begin, 0), std::min(end, keys)};
}

/// Calls body(key, keys) for every run of at most kKeyBlock keys that some row of the block
/// attends to, in key order.
template <class Op, class Body>
void for_each_key_block(const Op& op, const QueryBlock& block, Body&& body) {
  for (std::int64_t key = block.k_begin; key < block.k_end; key += kKeyBlock) {
    const std::int64_t keys = std::min(kKeyBlock, block.k_end - key);
    bool any = false;
    for (std::int64_t i = 0; i < block.rows && !any; ++i) {
      any = !columns_of(op, block.first + i, key, keys).empty();
    }
    if (any) body(key, keys);
  }
}

/// Copies the block's rows of `heads` heads from `first_head` on to `out`, head by head.
template <class T>
void gather_rows(const ConstTensor& x, const QueryBlock& block, std::int64_t first_head,
                 std::int64_t heads, T* out) {
  const std::int64_t width = x.shape[2];
  for (std::int64_t h = 0; h < heads; ++h) {
    for (std::int64_t i = 0; i < block.rows; ++i, out += width) {
      std::copy_n(head<T>(x, block.first + i, first_head + h), width, out);
    }
  }
}

/// x = e^(x - shift) over n elements; returns their sum.
template <class T>
T exp_row(T* x, std::int64_t n, T shift) {
  T sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t i = 0; i < n; ++i) {
    x[i] = fast_exp(x[i] - shift);
    sum += x[i];
  }
  return sum;
}

}  // namespace strait::kernels::cpu
