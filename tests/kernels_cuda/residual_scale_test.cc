#include "kernels/residual_scale.h"

#include "tests/kernels_cuda/device_test.h"

namespace strait::kernels {
namespace {

using namespace test;

class CudaResidualScale : public DeviceTest {};

struct Case {
  std::int64_t tokens, width;
  Make rows = {};
};

const Case kCases[] = {{1, 1},    {5, 7},    {1100, 40},         {3000, 2},
                       {9, 2048}, {3, 9000}, {7, 100, kOddRows}, {6, 1001, kPaddedRows}};

struct Kind {
  bool stream, wide_stream, wide_parameters;
};

/// Behind the embedding and between blocks, the residual stream in the compute dtype or in f32.
const Kind kKinds[] = {{false, false, false},
                       {false, true, false},
                       {true, false, false},
                       {true, true, false},
                       {true, true, true}};

Make stream_of(const Case& c, const Kind& kind) {
  Make make = c.rows;
  make.stat = kind.wide_stream;
  return make;
}

ResidualScaleFwd forward(Side& s, const Case& c, const Kind& kind) {
  const Make parameter{.stat = kind.wide_parameters};
  ResidualScaleFwd op{.delta = s.input("delta", {c.tokens, c.width}, c.rows),
                      .delta_scale = s.input("delta_scale", {c.width}, parameter),
                      .delta_bias = s.input("delta_bias", {c.width}, parameter),
                      .y = s.output("y", {c.tokens, c.width}, stream_of(c, kind))};
  if (!kind.stream) return op;
  op.x = s.input("x", {c.tokens, c.width}, stream_of(c, kind));
  op.x_scale = s.input("x_scale", {c.width}, parameter);
  op.x_bias = s.input("x_bias", {c.width}, parameter);
  return op;
}

ResidualScaleBwd backward(Side& s, const Case& c, const Kind& kind, bool in_place) {
  const Make parameter{.stat = kind.wide_parameters}, sum{.stat = true};
  ResidualScaleBwd op;
  op.delta = s.input("delta", {c.tokens, c.width}, c.rows);
  op.delta_scale = s.input("delta_scale", {c.width}, parameter);
  op.delta_bias = s.input("delta_bias", {c.width}, parameter);
  op.ddelta_scale = s.in_out("ddelta_scale", {c.width}, sum);
  op.ddelta_bias = s.in_out("ddelta_bias", {c.width}, sum);
  const Tensor dy = in_place ? s.in_out("dy", {c.tokens, c.width}, c.rows)
                             : s.input("dy", {c.tokens, c.width}, c.rows);
  op.dy = dy;
  const auto output = [&](const char* name, bool takes_place) {
    return takes_place && in_place ? dy : s.output(name, {c.tokens, c.width}, c.rows);
  };
  op.ddelta = output("ddelta", !kind.stream);
  if (!kind.stream) return op;
  op.x = s.input("x", {c.tokens, c.width}, stream_of(c, kind));
  op.x_scale = s.input("x_scale", {c.width}, parameter);
  op.x_bias = s.input("x_bias", {c.width}, parameter);
  op.dx = output("dx", true);
  op.dx_scale = s.in_out("dx_scale", {c.width}, sum);
  op.dx_bias = s.in_out("dx_bias", {c.width}, sum);
  return op;
}

TEST_F(CudaResidualScale, Forward) {
  for (const DType storage : {DType::f32, DType::bf16}) {
    for (const Case& c : kCases) {
      for (const Kind& kind : kKinds) {
        SCOPED_TRACE(c.width);
        compare_op(storage, [&](Side& s) { return forward(s, c, kind); });
      }
    }
  }
}

TEST_F(CudaResidualScale, Backward) {
  for (const DType storage : {DType::f32, DType::bf16}) {
    for (const Case& c : kCases) {
      for (const Kind& kind : kKinds) {
        SCOPED_TRACE(c.width);
        for (const bool in_place : {false, true}) {
          compare_op(storage, [&](Side& s) { return backward(s, c, kind, in_place); });
        }
      }
    }
  }
}

TEST_F(CudaResidualScale, RefusesDouble) {
  expect_unsupported(
      DType::f64,
      [](Side& s) {
        return forward(s, {2, 8}, {true, false, false});
      },
      "delta: the CUDA backend computes in f32 or bf16, got [2, 8] f64");
}

}  // namespace
}  // namespace strait::kernels
