#include "kernels/optimizer.h"

#include "tests/kernels_cuda/device_test.h"

namespace strait::kernels {
namespace {

using namespace test;

class CudaOptimizer : public DeviceTest {};

AdamW step(Side& s, std::int64_t n, bool master, bool wide_gradient, std::int64_t t) {
  AdamW op{.w = s.in_out("w", {n}, {.stat = master}),
           .g = s.input("g", {n}, {.stat = wide_gradient}),
           .m = s.in_out("m", {n}, {.stat = true, .scale = 0.1}),
           .v = s.in_out("v", {n}, {.stat = true, .scale = 0.01, .mean = 0.1}),
           .grad_scale = s.values("scale", {0.37}, {1}, {.f64 = true}),
           .lr = 0.01,
           .decay = 0.1,
           .step = t};
  if (master) op.w_compute = s.output("w_compute", {n});
  return op;
}

TEST_F(CudaOptimizer, AdamW) {
  for (const DType storage : {DType::f32, DType::bf16}) {
    for (const std::int64_t n : {1, 3, 1024, 5001}) {
      for (const bool master : {false, true}) {
        for (const bool wide_gradient : {false, true}) {
          SCOPED_TRACE(n);
          compare_op(storage,
                     [&](Side& s) { return step(s, n, master, wide_gradient, 1 + n % 7); });
        }
      }
    }
  }
}

TEST_F(CudaOptimizer, SumSquares) {
  for (const DType storage : {DType::f32, DType::bf16}) {
    for (const std::int64_t n : {1, 77, 4096, 300001}) {
      SCOPED_TRACE(n);
      for (const Make& rows : {Make{}, kOddRows}) {
        compare_op(storage, [&](Side& s) {
          return SumSquares{.x = s.input("x", {n}, rows),
                            .out = s.values("out", {0.75}, {1}, {.f64 = true, .written = true})};
        });
      }
    }
  }
}

TEST_F(CudaOptimizer, ClipScale) {
  for (const double max_norm : {0.0, 1.0, 50.0}) {
    compare_op(DType::f32, [&](Side& s) {
      return ClipScale{.sum_squares = s.values("sum", {317.5}, {1}, {.f64 = true}),
                       .norm = s.output("norm", {1}, {.f64 = true}),
                       .scale = s.output("scale", {1}, {.f64 = true}),
                       .max_norm = max_norm};
    });
  }
}

}  // namespace
}  // namespace strait::kernels
