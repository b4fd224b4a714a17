#include "kernels/elementwise.h"

#include "tests/kernels_cuda/device_test.h"

namespace strait::kernels {
namespace {

using namespace test;

class CudaElementwise : public DeviceTest {};

const Make kLayouts[] = {{}, kOddRows, kPaddedRows};

TEST_F(CudaElementwise, Fill) {
  for (const Make& rows : kLayouts) {
    for (const DType storage : {DType::f32, DType::bf16, DType::f64}) {
      for (const double value : {0.0, -1.2345678}) {
        const auto build = [&](Side& s) {
          return Fill{.x = s.output("x", {3, 5, 65}, rows), .value = value};
        };
        compare_op(storage, build, {.exact = true});
      }
    }
  }
  for (const DType dtype : {DType::i32, DType::i64}) {
    compare_op(DType::f32,
               [&](Side& s) { return Fill{.x = s.int_output("x", {1001}, dtype), .value = -7}; });
  }
}

TEST_F(CudaElementwise, Add) {
  for (const Make& rows : kLayouts) {
    for (const DType storage : {DType::f32, DType::bf16}) {
      compare_op(storage, [&](Side& s) {
        return Add{.a = s.input("a", {7, 3, 41}, rows),
                   .b = s.input("b", {7, 3, 41}),
                   .y = s.output("y", {7, 3, 41}, rows)};
      });
      compare_op(storage, [&](Side& s) {
        const Tensor a = s.in_out("a", {9, 128}, rows);
        return Add{.a = a, .b = s.input("b", {9, 128}, rows), .y = a};
      });
    }
  }
}

TEST_F(CudaElementwise, CopyConverts) {
  for (const Make& from : kLayouts) {
    for (const Make& to : kLayouts) {
      for (const bool widen : {false, true}) {
        for (const std::int64_t width : {1, 33, 640}) {
          Make x = from, y = to;
          x.stat = !widen;
          y.stat = widen;
          const auto build = [&](Side& s) {
            return Copy{.x = s.input("x", {5, 2, width}, x), .y = s.output("y", {5, 2, width}, y)};
          };
          compare_op(DType::bf16, build, {.exact = true});
          compare_op(DType::f32, build, {.exact = true});
        }
      }
    }
  }
}

TEST_F(CudaElementwise, CopyMovesAnyDtype) {
  compare_op(DType::f32, [](Side& s) {
    return Copy{.x = s.ints("x", {5, -3, 7, 1 << 30, 9, 2}, {2, 3}),
                .y = s.int_output("y", {2, 3})};
  });
  compare_op(DType::f64,
             [](Side& s) { return Copy{.x = s.input("x", {40}), .y = s.output("y", {40})}; },
             {.exact = true});
}

TEST_F(CudaElementwise, RefusesOtherDtypesByName) {
  expect_unsupported(
      DType::f32,
      [](Side& s) { return Copy{.x = s.input("x", {4}, {.f64 = true}), .y = s.output("y", {4})}; },
      "x: the CUDA backend computes in f32 or bf16, got [4] f64");
}

}  // namespace
}  // namespace strait::kernels
