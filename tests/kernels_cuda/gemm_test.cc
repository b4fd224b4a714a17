#include "kernels/gemm.h"

#include "tests/kernels_cuda/device_test.h"

namespace strait::kernels {
namespace {

using namespace test;

class CudaGemm : public DeviceTest {};

struct Case {
  std::int64_t m, n, k;
  Make rows = {};
};

const Case kCases[] = {{1, 1, 1},
                       {3, 5, 7},
                       {64, 128, 256},
                       {130, 72, 200},
                       {1, 96, 64},
                       {40, 33, 65, kOddRows},
                       {48, 40, 104, kPaddedRows}};

struct Form {
  bool trans_a = false, trans_b = false, accumulate = false, wide = false;
};

Gemm product(Side& s, const Case& c, const Form& f) {
  Make out = c.rows;
  out.stat = f.wide;
  return {.a = f.trans_a ? s.input("a", {c.k, c.m}, c.rows) : s.input("a", {c.m, c.k}, c.rows),
          .b = f.trans_b ? s.input("b", {c.n, c.k}, c.rows) : s.input("b", {c.k, c.n}, c.rows),
          .c = f.accumulate ? s.in_out("c", {c.m, c.n}, out) : s.output("c", {c.m, c.n}, out),
          .trans_a = f.trans_a,
          .trans_b = f.trans_b,
          .accumulate = f.accumulate};
}

TEST_F(CudaGemm, EveryFormAndDtype) {
  for (const DType storage : {DType::f32, DType::bf16}) {
    for (const Case& c : kCases) {
      for (int bits = 0; bits < 16; ++bits) {
        const Form form{(bits & 1) != 0, (bits & 2) != 0, (bits & 4) != 0, (bits & 8) != 0};
        SCOPED_TRACE(std::to_string(c.m) + "x" + std::to_string(c.n) + "x" + std::to_string(c.k) +
                     " form " + std::to_string(bits));
        compare_op(storage, [&](Side& s) { return product(s, c, form); });
      }
    }
  }
}

TEST_F(CudaGemm, BiasIsAddedInTheEpilogue) {
  for (const DType storage : {DType::f32, DType::bf16}) {
    for (const Case& c : {Case{17, 64, 40}, Case{64, 128, 256}}) {
      for (const bool wide : {false, true}) {
        compare_op(storage, [&](Side& s) {
          Gemm op = product(s, c, {.trans_b = true, .wide = wide});
          op.bias = s.input("bias", {c.n}, {.stat = wide});
          return op;
        });
      }
    }
  }
}

TEST_F(CudaGemm, NothingToSum) {
  for (const bool accumulate : {false, true}) {
    const Form form{.accumulate = accumulate};
    compare_op(DType::bf16, [&](Side& s) { return product(s, {5, 9, 0}, form); }, {.exact = true});
  }
}

TEST_F(CudaGemm, RefusesBiasOfAnotherDtype) {
  expect_unsupported(
      DType::bf16,
      [](Side& s) {
        Gemm op = product(s, {8, 16, 8}, {.trans_b = true});
        op.bias = s.input("bias", {16}, {.stat = true});
        return op;
      },
      "bias: the CUDA backend needs the dtype of c, [8, 16] bf16, got [16] f32");
}

}  // namespace
}  // namespace strait::kernels
