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

INSTANTIATE_TEST_SUITE_P(All, CudaWideLinear, testing::ValuesIn(cases()),
                         [](const testing::TestParamInfo<Case>& info) { return info.param.name; });

}  // namespace
}  // namespace strait::kernels
