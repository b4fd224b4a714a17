#include "kernels/activation.h"
#include "kernels/depth_average.h"
#include "kernels/gemm.h"
#include "tests/kernels_cuda/device_test.h"

// The ops of a router that is a small network.
namespace strait::kernels {
namespace {

using namespace test;

class CudaRouterMlp : public DeviceTest {};

struct Case {
  std::int64_t tokens, width;
  Make rows = {};
};

const Case kCases[] = {
    {1, 1}, {5, 7}, {1100, 256}, {3000, 2}, {9, 2048}, {7, 100, kOddRows}, {6, 101, kPaddedRows}};

TEST_F(CudaRouterMlp, Gelu) {
  for (const DType storage : {DType::f32, DType::bf16}) {
    for (const Case& c : kCases) {
      SCOPED_TRACE(c.width);
      Make wide = c.rows;
      wide.scale = 3;  // into the flat parts
      compare_op(storage, [&](Side& s) {
        return GeluFwd{.x = s.input("x", {c.tokens, c.width}, wide),
                       .bias = s.input("bias", {c.width}),
                       .y = s.output("y", {c.tokens, c.width}, c.rows)};
      });
      compare_op(storage, [&](Side& s) {
        return GeluBwd{.dy = s.input("dy", {c.tokens, c.width}, c.rows),
                       .x = s.input("x", {c.tokens, c.width}, wide),
                       .bias = s.input("bias", {c.width}, {.stat = true}),
                       .dx = s.output("dx", {c.tokens, c.width}, c.rows),
                       .dbias = s.in_out("dbias", {c.width}, {.stat = true})};
      });
    }
  }
}

TEST_F(CudaRouterMlp, DepthAverage) {
  for (const DType storage : {DType::f32, DType::bf16}) {
    for (const Case& c : kCases) {
      SCOPED_TRACE(c.width);
      const auto rows = [&](Side& s, const char* name) {
        return s.input(name, {c.tokens, c.width}, c.rows);
      };
      compare_op(storage, [&](Side& s) {
        return DepthAverageFwd{.x = rows(s, "x"),
                               .bias = s.input("bias", {c.width}),
                               .previous = rows(s, "previous"),
                               .gamma = s.input("gamma", {c.width}),
                               .y = s.output("y", {c.tokens, c.width}, c.rows)};
      });
      compare_op(storage, [&](Side& s) {
        const Tensor x = s.in_out("x", {c.tokens, c.width}, c.rows);
        return DepthAverageFwd{.x = x, .bias = s.input("bias", {c.width}, {.stat = true}), .y = x};
      });
      compare_op(storage, [&](Side& s) {
        return DepthAverageBwd{.dy = rows(s, "dy"),
                               .previous = rows(s, "previous"),
                               .gamma = s.input("gamma", {c.width}),
                               .dprevious = s.output("dprevious", {c.tokens, c.width}, c.rows),
                               .dbias = s.in_out("dbias", {c.width}, {.stat = true}),
                               .dgamma = s.in_out("dgamma", {c.width}, {.stat = true})};
      });
      compare_op(storage, [&](Side& s) {
        return DepthAverageBwd{.dy = rows(s, "dy"),
                               .dbias = s.in_out("dbias", {c.width}, {.stat = true})};
      });
    }
  }
}

/// Rows behind the last expert's belong to tokens that skip.
TEST_F(CudaRouterMlp, GroupedProductsLeaveRowsOfNoExpertAlone) {
  for (const DType storage : {DType::f32, DType::bf16}) {
    compare_op(storage, [&](Side& s) {
      return GroupedGemm{.a = s.input("a", {300, 64}),
                         .b = s.input("b", {3, 72, 64}),
                         .offsets = s.ints("offsets", {0, 130, 130, 171}, {4}),
                         .c = s.in_out("c", {300, 72}),
                         .trans_b = true};
    });
    compare_op(storage, [&](Side& s) {
      return GroupedGemmWgrad{.a = s.input("a", {300, 72}),
                              .b = s.input("b", {300, 64}),
                              .offsets = s.ints("offsets", {0, 130, 130, 171}, {4}),
                              .dw = s.in_out("dw", {3, 72, 64}, {.stat = true})};
    });
  }
}

}  // namespace
}  // namespace strait::kernels
