#include "kernels/norm.h"
#include "kernels/permute.h"

#include "kernels/elementwise.h"
#include "kernels/residual_scale.h"
#include "tests/kernels_cuda/device_test.h"

namespace strait::kernels {
namespace {

using namespace test;

struct Case {
  std::int64_t tokens, width;
  Make rows = {};
};

/// The widest row in f32; bf16 takes twice as much.
constexpr std::int64_t kWidest = 8192;

/// One packet and less, odd widths, several packets a thread, the wide row shape.
const Case kCases[] = {{1, 1},
                       {5, 7},
                       {3, 64},
                       {1100, 40},
                       {9, 2048},
                       {4, kWidest},
                       {3, 9000, kPaddedRows},
                       {7, 100, kOddRows},
                       {6, 1001, kPaddedRows},
                       {2, 4096, kOddRows}};

class CudaNorm : public DeviceTest {};

RmsNormFwd plain(Side& s, const Case& c, bool wide_weight) {
  return {.x = s.input("x", {c.tokens, c.width}, c.rows),
          .w = s.input("w", {c.width}, {.stat = wide_weight}),
          .y = s.output("y", {c.tokens, c.width}, c.rows),
          .rstd = s.output("rstd", {c.tokens}, {.stat = true})};
}

/// x and delta on a grid where their sum is exact in bf16: rounding it is the next test's subject.
RmsNormFwd residual(Side& s, const Case& c, double grid) {
  Make rows = c.rows;
  rows.grid = grid;
  return {.x = s.input("x", {c.tokens, c.width}, rows),
          .delta = s.input("delta", {c.tokens, c.width}, rows),
          .w = s.input("w", {c.width}),
          .sum = s.output("sum", {c.tokens, c.width}, rows),
          .y = s.output("y", {c.tokens, c.width}, rows),
          .rstd = s.output("rstd", {c.tokens}, {.stat = true})};
}

/// The residual stream in f32 beside bf16: sums are not rounded.
RmsNormFwd wide_residual(Side& s, const Case& c) {
  Make wide = c.rows;
  wide.stat = true;
  return {.x = s.input("x", {c.tokens, c.width}, wide),
          .delta = s.input("delta", {c.tokens, c.width}, c.rows),
          .w = s.input("w", {c.width}),
          .sum = s.output("sum", {c.tokens, c.width}, wide),
          .y = s.output("y", {c.tokens, c.width}, c.rows),
          .rstd = s.output("rstd", {c.tokens}, {.stat = true})};
}

TEST_F(CudaNorm, ForwardOfAWideResidual) {
  for (const Case& c : kCases) {
    SCOPED_TRACE(c.width);
    compare_op(DType::bf16, [&](Side& s) { return wide_residual(s, c); });
    compare_op(DType::bf16, [&](Side& s) {
      Make wide = c.rows;
      wide.stat = true;
      return RmsNormFwd{.x = s.input("x", {c.tokens, c.width}, wide),
                        .w = s.input("w", {c.width}, {.stat = true}),
                        .y = s.output("y", {c.tokens, c.width}, c.rows),
                        .rstd = s.output("rstd", {c.tokens}, {.stat = true})};
    });
  }
}

TEST_F(CudaNorm, Forward) {
  for (const DType storage : {DType::f32, DType::bf16}) {
    for (const Case& c : kCases) {
      if (storage == DType::f32 && c.width > kWidest) continue;
      SCOPED_TRACE(c.width);
      compare_op(storage, [&](Side& s) { return plain(s, c, false); });
      compare_op(storage, [&](Side& s) { return plain(s, c, true); });
      compare_op(storage, [&](Side& s) { return residual(s, c, 1.0 / 16); });
    }
  }
}

TEST_F(CudaNorm, FusedSumRepeatsAsAddThenNorm) {
  const Case c{33, 1000};
  for (const DType storage : {DType::f32, DType::bf16}) {
    Side fused(Side::Kind::device, storage), steps(Side::Kind::device, storage);
    const auto one = evaluate(fused, [&](Side& s) { return residual(s, c, 0); });
    RmsNormFwd op = residual(steps, c, 0);
    launch(Add{.a = op.x, .b = op.delta, .y = op.sum}, steps.stream());
    op.x = op.sum;
    op.delta = op.sum = {};
    launch(op, steps.stream());
    expect_same_bits(one, steps.collect());
  }
}

RmsNormFwd scaled(Side& s, const Case& c, bool wide_stream, bool wide_parameters) {
  Make stream = c.rows;
  stream.stat = wide_stream;
  const Make parameter{.stat = wide_parameters};
  return {.x = s.input("x", {c.tokens, c.width}, stream),
          .delta = s.input("delta", {c.tokens, c.width}, c.rows),
          .w = s.input("w", {c.width}, parameter),
          .scales = {.x_scale = s.input("x_scale", {c.width}, parameter),
                     .x_bias = s.input("x_bias", {c.width}, parameter),
                     .delta_scale = s.input("delta_scale", {c.width}, parameter),
                     .delta_bias = s.input("delta_bias", {c.width}, parameter)},
          .sum = s.output("sum", {c.tokens, c.width}, stream),
          .y = s.output("y", {c.tokens, c.width}, c.rows),
          .rstd = s.output("rstd", {c.tokens}, {.stat = true})};
}

TEST_F(CudaNorm, ForwardOfAScaledSum) {
  for (const Case& c : kCases) {
    SCOPED_TRACE(c.width);
    compare_op(DType::bf16, [&](Side& s) { return scaled(s, c, true, false); });
    compare_op(DType::bf16, [&](Side& s) { return scaled(s, c, true, true); });
    if (c.width > kWidest) continue;
    compare_op(DType::f32, [&](Side& s) { return scaled(s, c, false, false); });
  }
}

/// Rows of K experts a token, in an order that is none of the tokens'. On a grid of 1/4 and 1/2
/// what they add up to is exact in bf16.
RmsNormFwd with_experts(Side& s, const Case& c, std::int64_t chosen, bool base, bool wide_stream,
                        double grid) {
  Make stream = c.rows, rows = c.rows;
  stream.stat = wide_stream;
  rows.grid = grid / 4;
  const std::int64_t n = c.tokens * chosen;
  std::vector<std::int32_t> row_of;
  for (std::int64_t i = 0; i < n; ++i) {
    row_of.push_back(static_cast<std::int32_t>((i % chosen + 1) * c.tokens - 1 - i / chosen));
  }
  return {.x = s.input("x", {c.tokens, c.width}, stream),
          .delta = base ? s.input("delta", {c.tokens, c.width}, rows) : Tensor{},
          .w = s.input("w", {c.width}),
          .experts = {.rows = s.input("rows", {n, c.width}, rows),
                      .row_of = s.ints("row_of", row_of, {c.tokens, chosen}),
                      .weight =
                          s.input("weight", {c.tokens, chosen}, {.stat = true, .grid = grid / 2})},
          .sum = s.output("sum", {c.tokens, c.width}, stream),
          .y = s.output("y", {c.tokens, c.width}, c.rows),
          .rstd = s.output("rstd", {c.tokens}, {.stat = true})};
}

TEST_F(CudaNorm, ForwardWithRowsOfExperts) {
  for (const Case& c : kCases) {
    SCOPED_TRACE(c.width);
    for (const bool base : {false, true}) {
      compare_op(DType::bf16, [&](Side& s) { return with_experts(s, c, 2, base, true, 1); });
      if (c.width > kWidest) continue;
      compare_op(DType::f32, [&](Side& s) { return with_experts(s, c, 5, base, false, 1); });
    }
  }
}

TEST_F(CudaNorm, RowsOfExpertsRepeatAsCombineThenNorm) {
  for (const Case& c : {Case{33, 1000}, Case{5, 7}, Case{9, 2048, kOddRows}}) {
    for (const bool base : {false, true}) {
      Side fused(Side::Kind::device, DType::bf16), steps(Side::Kind::device, DType::bf16),
          between(Side::Kind::device, DType::bf16);
      const auto one =
          evaluate(fused, [&](Side& s) { return with_experts(s, c, 3, base, false, 0); });
      RmsNormFwd op = with_experts(steps, c, 3, base, false, 0);
      const Tensor combined = between.output("combined", {c.tokens, c.width});
      launch(MoeCombineFwd{.x = op.experts.rows,
                           .row_of = op.experts.row_of,
                           .weight = op.experts.weight,
                           .base = op.delta,
                           .y = combined},
             steps.stream());
      op.delta = combined;
      op.experts = {};
      launch(op, steps.stream());
      expect_same_bits(one, steps.collect());
    }
  }
}

/// With the sum rounded to bf16 nothing but its own steps tells what y is to be.
TEST_F(CudaNorm, ScaledSumRepeatsAsScaleThenNorm) {
  for (const Case& c : {Case{33, 1000}, Case{5, 7}, Case{9, 2048, kOddRows}}) {
    for (const bool wide : {false, true}) {
      Side fused(Side::Kind::device, DType::bf16), steps(Side::Kind::device, DType::bf16);
      const auto one = evaluate(fused, [&](Side& s) { return scaled(s, c, wide, false); });
      RmsNormFwd op = scaled(steps, c, wide, false);
      launch(ResidualScaleFwd{.x = op.x,
                              .x_scale = op.scales.x_scale,
                              .x_bias = op.scales.x_bias,
                              .delta = op.delta,
                              .delta_scale = op.scales.delta_scale,
                              .delta_bias = op.scales.delta_bias,
                              .y = op.sum},
             steps.stream());
      op.x = op.sum;
      op.delta = op.sum = {};
      op.scales = {};
      launch(op, steps.stream());
      expect_same_bits(one, steps.collect());
    }
  }
}

TEST_F(CudaNorm, SumMayAliasEitherTerm) {
  const Case c{5, 264};
  for (const bool into_delta : {false, true}) {
    compare_op(DType::bf16, [&](Side& s) {
      const Make grid{.grid = 1.0 / 16};
      const Tensor sum = s.in_out("x", {c.tokens, c.width}, grid);
      const Tensor other = s.input("delta", {c.tokens, c.width}, grid);
      return RmsNormFwd{.x = into_delta ? other : sum,
                        .delta = into_delta ? sum : other,
                        .w = s.input("w", {c.width}),
                        .sum = sum,
                        .y = s.output("y", {c.tokens, c.width}),
                        .rstd = s.output("rstd", {c.tokens}, {.stat = true})};
    });
  }
}

RmsNormBwd backward(Side& s, const Case& c, bool wide_gradient, bool wide_residual = false) {
  Make stream = c.rows;
  stream.stat = wide_residual;
  return {.dy = s.input("dy", {c.tokens, c.width}, c.rows),
          .s = s.input("s", {c.tokens, c.width}, stream),
          .w = s.input("w", {c.width}),
          .rstd = s.input("rstd", {c.tokens}, {.stat = true, .scale = 0.1, .mean = 1}),
          .dresidual = s.input("dresidual", {c.tokens, c.width}, c.rows),
          .dx = s.output("dx", {c.tokens, c.width}, c.rows),
          .dw = s.in_out("dw", {c.width}, {.stat = wide_gradient})};
}

TEST_F(CudaNorm, BackwardOfAWideResidual) {
  for (const Case& c : kCases) {
    SCOPED_TRACE(c.width);
    compare_op(DType::bf16, [&](Side& s) { return backward(s, c, true, true); });
  }
}

TEST_F(CudaNorm, Backward) {
  for (const DType storage : {DType::f32, DType::bf16}) {
    for (const Case& c : kCases) {
      if (storage == DType::f32 && c.width > kWidest) continue;
      SCOPED_TRACE(c.width);
      for (const bool wide : {false, true}) {
        compare_op(storage, [&](Side& s) { return backward(s, c, wide); });
      }
      compare_op(storage, [&](Side& s) {
        RmsNormBwd op = backward(s, c, true);
        op.dresidual = {};
        return op;
      });
      compare_op(storage, [&](Side& s) {  // in place of the residual's gradient
        const Tensor d = s.in_out("d", {c.tokens, c.width}, c.rows);
        return RmsNormBwd{.dy = s.input("dy", {c.tokens, c.width}, c.rows),
                          .s = s.input("s", {c.tokens, c.width}, c.rows),
                          .w = s.input("w", {c.width}, {.stat = true}),
                          .rstd = s.input("rstd", {c.tokens}, {.stat = true, .mean = 1}),
                          .dresidual = d,
                          .dx = d,
                          .dw = s.in_out("dw", {c.width}, {.stat = true})};
      });
    }
  }
}

TEST_F(CudaNorm, RefusesWhatItCannotDo) {
  expect_unsupported(
      DType::bf16,
      [](Side& s) {
        return plain(s, {2, 20000}, false);
      },
      "y: rows of at most 16384 elements, got [2, 20000] bf16");
  expect_unsupported(
      DType::f64,
      [](Side& s) {
        return plain(s, {2, 8}, false);
      },
      "y: the CUDA backend computes in f32 or bf16, got [2, 8] f64");
}

}  // namespace
}  // namespace strait::kernels
