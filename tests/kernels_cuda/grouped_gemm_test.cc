#include <numeric>

#include "kernels/gemm.h"
#include "tests/kernels_cuda/device_test.h"

namespace strait::kernels {
namespace {

using namespace test;

struct Case {
  std::string name;
  std::vector<std::int32_t> sizes;  // rows of each expert
  std::int64_t in = 64, out = 64;
  Make rows = {};

  std::vector<std::int32_t> offsets() const {
    std::vector<std::int32_t> at(sizes.size() + 1);
    std::partial_sum(sizes.begin(), sizes.end(), at.begin() + 1);
    return at;
  }
  std::int64_t experts() const { return static_cast<std::int64_t>(sizes.size()); }
  std::int64_t tokens() const { return offsets().back(); }
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << c.name;
}

std::vector<Case> cases() {
  return {
      {"one_row", {1}, 8, 8},
      {"uneven", {0, 140, 1, 0, 264, 37}, 128, 192},
      {"all_on_one_expert", {0, 0, 300, 0}, 96, 136},
      {"one_row_each", std::vector<std::int32_t>(70, 1), 72, 40},
      {"mostly_empty", {3, 0, 0, 0, 0, 0, 0, 129}, 200, 64},
      {"odd_sizes", {5, 130, 0, 77}, 113, 61},
      {"odd_rows", {50, 79}, 64, 64, kOddRows},
      {"padded_rows", {128, 128, 64}, 256, 128, kPaddedRows},
      {"many_experts", std::vector<std::int32_t>(300, 2), 24, 24},
  };
}

class CudaGroupedGemm : public DeviceTest, public testing::WithParamInterface<Case> {};

TEST_P(CudaGroupedGemm, Product) {
  const Case& c = GetParam();
  for (const DType storage : {DType::bf16, DType::f32}) {
    for (const bool trans_b : {false, true}) {
      SCOPED_TRACE(trans_b);
      compare_op(storage, [&](Side& s) {
        const Tensor b = trans_b ? s.input("b", {c.experts(), c.out, c.in}, c.rows)
                                 : s.input("b", {c.experts(), c.in, c.out}, c.rows);
        return GroupedGemm{.a = s.input("a", {c.tokens(), c.in}, c.rows),
                           .b = b,
                           .offsets = s.ints("offsets", c.offsets(), {c.experts() + 1}),
                           .c = s.output("c", {c.tokens(), c.out}, c.rows),
                           .trans_b = trans_b};
      });
    }
  }
}

GroupedGemmWgrad weight_gradient(Side& s, const Case& c, bool wide) {
  Make dw = c.rows;
  dw.stat = wide;
  return {.a = s.input("a", {c.tokens(), c.out}, c.rows),
          .b = s.input("b", {c.tokens(), c.in}, c.rows),
          .offsets = s.ints("offsets", c.offsets(), {c.experts() + 1}),
          .dw = s.in_out("dw", {c.experts(), c.out, c.in}, dw)};
}

TEST_P(CudaGroupedGemm, WeightGradient) {
  for (const DType storage : {DType::bf16, DType::f32}) {
    compare_op(storage, [&](Side& s) { return weight_gradient(s, GetParam(), false); });
  }
}

TEST_P(CudaGroupedGemm, WeightGradientInFloat) {
  compare_op(DType::bf16, [&](Side& s) { return weight_gradient(s, GetParam(), true); });
}

INSTANTIATE_TEST_SUITE_P(All, CudaGroupedGemm, testing::ValuesIn(cases()),
                         [](const testing::TestParamInfo<Case>& info) { return info.param.name; });

using CudaGroupedGemmOps = DeviceTest;

TEST_F(CudaGroupedGemmOps, WideOutput) {
  const Case c{"", {40, 0, 90}, 64, 72};
  compare_op(DType::bf16, [&](Side& s) {
    return GroupedGemm{.a = s.input("a", {c.tokens(), c.in}),
                       .b = s.input("b", {c.experts(), c.in, c.out}),
                       .offsets = s.ints("offsets", c.offsets(), {c.experts() + 1}),
                       .c = s.output("c", {c.tokens(), c.out}, {.stat = true})};
  });
}

}  // namespace
}  // namespace strait::kernels
