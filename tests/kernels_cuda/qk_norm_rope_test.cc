#include "kernels/qk_norm_rope.h"

#include <numeric>

#include "tests/kernels_cuda/device_test.h"

namespace strait::kernels {
namespace {

using namespace test;

struct Case {
  std::int64_t tokens, heads, width;
  Rope rope;
  Make rows = {};
};

/// Packets and single channels, partial and interleaved rotation, narrow and the widest heads.
const Case kCases[] = {{37, 3, 128, {.theta = 1e4, .dims = 128}},
                       {20, 16, 64, {.theta = 5e5, .dims = 64}},
                       {70, 2, 128, {.theta = 1e6, .dims = 64}},
                       {9, 5, 256, {.theta = 1e4, .dims = 256}},
                       {11, 2, 96, {.theta = 1e4, .dims = 96, .interleaved = true}},
                       {30, 4, 8, {.theta = 1e4, .dims = 8}},
                       {30, 4, 12, {.theta = 1e4, .dims = 4, .interleaved = true}},
                       {5, 1, 33, {.theta = 1e4, .dims = 10}},
                       {300, 1, 16, {}},
                       {13, 2, 64, {.theta = 1e4, .dims = 64}, kOddRows},
                       {13, 2, 64, {.theta = 1e4, .dims = 32}, kPaddedRows},
                       {2500, 3, 32, {.theta = 1e4, .dims = 32}}};

class CudaQkNormRope : public DeviceTest {};

std::vector<std::int32_t> positions(const Case& c) {
  std::vector<std::int32_t> at(c.tokens);
  std::iota(at.begin(), at.end(), 0);
  at.back() = 1000003;  // where a float angle would be off by a tenth of a turn
  return at;
}

QkNormRopeFwd forward(Side& s, const Case& c, bool norm) {
  QkNormRopeFwd op{.x = s.input("x", {c.tokens, c.heads, c.width}, c.rows),
                   .positions = s.ints("positions", positions(c), {c.tokens}),
                   .y = s.output("y", {c.tokens, c.heads, c.width}, c.rows),
                   .rope = c.rope};
  if (norm) {
    op.w = s.input("w", {c.width});
    op.rstd = s.output("rstd", {c.tokens, c.heads}, {.stat = true});
  }
  return op;
}

QkNormRopeBwd backward(Side& s, const Case& c, bool norm, bool wide) {
  QkNormRopeBwd op{.dy = s.input("dy", {c.tokens, c.heads, c.width}, c.rows),
                   .positions = s.ints("positions", positions(c), {c.tokens}),
                   .dx = s.output("dx", {c.tokens, c.heads, c.width}, c.rows),
                   .rope = c.rope};
  if (norm) {
    op.x = s.input("x", {c.tokens, c.heads, c.width}, c.rows);
    op.w = s.input("w", {c.width}, {.stat = wide});
    op.rstd = s.input("rstd", {c.tokens, c.heads}, {.stat = true, .scale = 0.1, .mean = 1});
    op.dw = s.in_out("dw", {c.width}, {.stat = wide});
  }
  return op;
}

TEST_F(CudaQkNormRope, Forward) {
  for (const DType storage : {DType::f32, DType::bf16}) {
    for (const Case& c : kCases) {
      SCOPED_TRACE(std::to_string(c.width) + " of " + std::to_string(c.tokens));
      const Tolerance moved{.exact = c.rope.dims == 0};
      compare_op(
          storage, [&](Side& s) { return forward(s, c, false); }, moved);
      compare_op(storage, [&](Side& s) { return forward(s, c, true); });
    }
  }
}

TEST_F(CudaQkNormRope, Backward) {
  for (const DType storage : {DType::f32, DType::bf16}) {
    for (const Case& c : kCases) {
      SCOPED_TRACE(std::to_string(c.width) + " of " + std::to_string(c.tokens));
      const Tolerance moved{.exact = c.rope.dims == 0};
      compare_op(
          storage, [&](Side& s) { return backward(s, c, false, false); }, moved);
      for (const bool wide : {false, true}) {
        compare_op(storage, [&](Side& s) { return backward(s, c, true, wide); });
      }
    }
  }
}

TEST_F(CudaQkNormRope, InPlace) {
  const Case& c = kCases[0];
  for (const DType storage : {DType::f32, DType::bf16}) {
    compare_op(storage, [&](Side& s) {
      const Tensor x = s.in_out("x", {c.tokens, c.heads, c.width});
      return QkNormRopeFwd{.x = x,
                           .positions = s.ints("positions", positions(c), {c.tokens}),
                           .y = x,
                           .rope = c.rope};
    });
    compare_op(storage, [&](Side& s) {
      const Tensor d = s.in_out("d", {c.tokens, c.heads, c.width});
      return QkNormRopeBwd{.dy = d,
                           .x = s.input("x", {c.tokens, c.heads, c.width}),
                           .w = s.input("w", {c.width}),
                           .positions = s.ints("positions", positions(c), {c.tokens}),
                           .rstd = s.input("rstd", {c.tokens, c.heads}, {.stat = true}),
                           .dx = d,
                           .dw = s.in_out("dw", {c.width}, {.stat = true}),
                           .rope = c.rope};
    });
  }
}

TEST_F(CudaQkNormRope, RefusesWideHeads) {
  expect_unsupported(
      DType::bf16,
      [](Side& s) {
        return forward(s, {4, 2, 264, {}}, false);
      },
      "x: heads of at most 256 channels, got [4, 2, 264] bf16");
}

}  // namespace
}  // namespace strait::kernels
