#pragma once

#include <gtest/gtest.h>

#include <string>

#include "kernels/launch.h"
#include "tests/support/tensors.h"

// What the tests of single ops share.
namespace strait::kernels::test {

using strait::test::bit_equal;
using strait::test::Buffers;
using strait::test::dot;
using strait::test::from_bf16;
using strait::test::get;
using strait::test::gradient_error;
using strait::test::relative_l2;
using strait::test::set;
using strait::test::values;

inline constexpr double kGradientTolerance = 1e-6;

/// Rows of `width` in the middle of a wider buffer.
inline Tensor strided_normal(Buffers& b, DType dtype, std::int64_t rows, std::int64_t width) {
  return b.normal(dtype, {rows, width + 5}).slice(1, 3, width);
}

inline Tensor strided_poisoned(Buffers& b, DType dtype, std::int64_t rows, std::int64_t width) {
  return b.poisoned(dtype, {rows, width + 5}).slice(1, 3, width);
}

template <class Op>
void run(const Op& op) {
  launch(op, Stream{});
}

/// launch(op) throws an OpError that names the op and contains `text`.
template <class Op>
void expect_rejected(const Op& op, const std::string& text) {
  try {
    launch(op, Stream{});
    ADD_FAILURE() << "accepted, expected an error with: " << text;
  } catch (const OpError& error) {
    const std::string message = error.what();
    EXPECT_EQ(message.find(Op::kName), 0u) << message;
    EXPECT_NE(message.find(text), std::string::npos) << message;
  }
}

/// Rule of the project for float results: at most `factor` (2 unless a reason is given) times the
/// error of a naive float evaluation, both against double on the same inputs.
inline void expect_like_naive(const ConstTensor& got, const ConstTensor& naive,
                              const ConstTensor& wide, double factor = 2.0) {
  const double error = relative_l2(got, wide), naive_error = relative_l2(naive, wide);
  EXPECT_GT(naive_error, 0.0) << "the naive evaluation is exact: nothing is compared";
  EXPECT_LE(error, factor * naive_error);
}

}  // namespace strait::kernels::test
