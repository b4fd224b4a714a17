#include "kernels/wide_linear.h"

#include "tests/kernels_cuda/device_test.h"

namespace strait::kernels {
namespace {

using namespace test;

struct Case {
  std::string name;
  std::int64_t tokens, in, out;
  Make rows = {};
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << c.name;
}

std::vector<Case> cases() {
  return {
      {"one_number", 1, 1, 1},      {"moe", 300, 512, 16},
      {"skip_class", 130, 256, 17}, {"mlp_router", 140, 320, 256},
      {"odd", 77, 61, 5, kOddRows}, {"padded_rows", 64, 128, 8, kPaddedRows},
  };
}

class CudaWideLinear : public DeviceTest, public testing::WithParamInterface<Case> {};

TEST_P(CudaWideLinear, Forward) {
  const Case& c = GetParam();
  for (const DType storage : {DType::bf16, DType::f32}) {
    compare_op(storage, [&](Side& s) {
      return WideLinearFwd{.x = s.input("x", {c.tokens, c.in}, c.rows),
                           .w = s.input("w", {c.out, c.in}, {.stat = true}),
                           .y = s.output("y", {c.tokens, c.out}, {.stat = true})};
    });
  }
}

TEST_P(CudaWideLinear, Backward) {
  const Case& c = GetParam();
  for (const DType storage : {DType::bf16, DType::f32}) {
    compare_op(storage, [&](Side& s) {
      return WideLinearBwd{.dy = s.input("dy", {c.tokens, c.out}, {.stat = true}),
                           .w = s.input("w", {c.out, c.in}, {.stat = true}),
                           .dx = s.output("dx", {c.tokens, c.in}, c.rows)};
    });
  }
}

/// A tensor's values after an evaluation, row by row.
std::vector<double> values_of(const std::vector<Side::Result>& results, const std::string& name) {
  for (const Side::Result& r : results) {
    if (r.name == name) return strait::test::values(r.view);
  }
  ADD_FAILURE() << "no " << name;
  return {};
}

TEST_P(CudaWideLinear, PartsAddUpToTheWeight) {
  const Case& c = GetParam();
  compare_op(DType::f32, [&](Side& s) {
    return WideLinearFwd{.x = s.input("x", {c.tokens, c.in}, c.rows),
                         .w = s.input("w", {c.out, c.in}, {.stat = true}),
                         .y = s.output("y", {c.tokens, c.out}, {.stat = true}),
                         .parts = s.output("parts", {c.out, c.in})};
  });
  Side side(Side::Kind::device, DType::bf16);
  const auto results = evaluate(side, [&](Side& s) {
    return WideLinearFwd{.x = s.input("x", {c.tokens, c.in}, c.rows),
                         .w = s.input("w", {c.out, c.in}, {.stat = true}),
                         .y = s.output("y", {c.tokens, c.out}, {.stat = true}),
                         .parts = s.output("parts", {4 * c.out, c.in})};
  });
  expect_intact(results);
  const std::vector<double> w = values_of(results, "w"), parts = values_of(results, "parts");
  const std::size_t size = w.size();
  ASSERT_EQ(parts.size(), 4 * size);
  for (std::size_t i = 0; i < size; ++i) {
    EXPECT_EQ(parts[i] + parts[size + i] + parts[2 * size + i], w[i]) << i;
    EXPECT_EQ(parts[3 * size + i], parts[i]) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(All, CudaWideLinear, testing::ValuesIn(cases()),
                         [](const testing::TestParamInfo<Case>& info) { return info.param.name; });

}  // namespace
}  // namespace strait::kernels
