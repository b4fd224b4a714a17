#pragma once

#include <cstdint>
#include <vector>

#include "kernels/attention.h"

// Plain float32 arithmetic of the naive side (device_test.h).
namespace strait::kernels::test {

/// `count` values that lie `step` apart.
struct Line {
  const float* first;
  std::int64_t step;
  float operator[](std::int64_t i) const { return first[i * step]; }
};

/// How products are summed, in order. `plain`: one rounded product after the other. `truncating`,
/// for products with bf16 (a float on the other side is cut into parts of bf16): in float as the
/// instruction for them does, 16 at a time, exactly, and the sum truncated (Fasi, Higham, Mikaitis,
/// Pranesh, "Numerical behavior of NVIDIA tensor cores", 2021).
enum class Sum { plain, truncating };

/// `count` lines whose first values lie `next` apart.
struct Lines {
  Line line;  // the first
  std::int64_t next, count;
  Line operator[](std::int64_t i) const { return {line.first + i * next, line.step}; }
};

/// Sum of the products of two lines of values that follow one another.
float naive_dot(const float* a, const float* b, std::int64_t terms, Sum how);

/// Copies lines so that a line's products with many of them are summed beside each other, each in
/// the order of naive_dot.
class Panels {
 public:
  Panels(const Lines& lines, std::int64_t terms);
  /// Products of a with lines begin to end, one after the other in `dots`.
  void dots(const float* a, std::int64_t begin, std::int64_t end, Sum how, float* dots) const;

 private:
  std::int64_t terms_;
  std::vector<float> values_;  // [panel][term][line of the panel], zeros beyond the last line
};

/// Attention query by query. What a kernel must round to `storage` before it enters a second
/// product is rounded: the probabilities and, in the backward, the gradients of the scores.
void run_naive(const AttentionFwd& op, DType storage);
void run_naive(const AttentionBwd& op, DType storage);

}  // namespace strait::kernels::test
