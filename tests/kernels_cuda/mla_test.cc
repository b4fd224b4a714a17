#include "kernels/mla.h"

#include "tests/kernels_cuda/device_test.h"

namespace strait::kernels {
namespace {

using namespace test;

struct Case {
  std::string name;
  std::int64_t tokens = 23, heads = 3, nope = 128, rope = 64, value = 128;
  bool interleaved = false;
  Make rows = {};
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << c.name;
}

std::vector<Case> cases() {
  return {
      {.name = "deepseek", .tokens = 113, .heads = 16},
      {.name = "interleaved", .interleaved = true},
      {.name = "one_token", .tokens = 1},
      {.name = "one_head", .heads = 1},
      {.name = "no_nope", .nope = 0, .rope = 16},
      {.name = "odd_widths", .nope = 5, .rope = 6, .value = 7},
      {.name = "odd_widths_interleaved", .nope = 5, .rope = 6, .value = 7, .interleaved = true},
      {.name = "golden", .nope = 8, .rope = 4, .value = 8, .interleaved = true},
      {.name = "odd_rows", .nope = 16, .rope = 32, .value = 16, .rows = kOddRows},
      {.name = "padded_rows", .nope = 16, .rope = 32, .value = 24, .rows = kPaddedRows},
      {.name = "widest_rope", .tokens = 5, .nope = 0, .rope = 256, .value = 8},
  };
}

std::vector<std::int32_t> positions(std::int64_t tokens) {
  std::vector<std::int32_t> at;
  for (std::int64_t t = 0; t < tokens; ++t) at.push_back(static_cast<std::int32_t>(t * t * 37));
  return at;
}

class CudaMla : public DeviceTest, public testing::WithParamInterface<Case> {};

TEST_P(CudaMla, Forward) {
  const Case& c = GetParam();
  for (const DType storage : {DType::bf16, DType::f32}) {
    for (const bool in_place : {false, true}) {
      SCOPED_TRACE(in_place);
      compare_op(storage, [&](Side& s) {
        const std::int64_t width = c.nope + c.rope;
        const Tensor q_up = in_place ? s.in_out("q_up", {c.tokens, c.heads, width}, c.rows)
                                     : s.input("q_up", {c.tokens, c.heads, width}, c.rows);
        return MlaAssembleFwd{
            .q_up = q_up,
            .kv_up = s.input("kv_up", {c.tokens, c.heads, c.nope + c.value}, c.rows),
            .k_rope = s.input("k_rope", {c.tokens, c.rope}, c.rows),
            .positions = s.ints("positions", positions(c.tokens), {c.tokens}),
            .q = in_place ? q_up : s.output("q", {c.tokens, c.heads, width}, c.rows),
            .k = s.output("k", {c.tokens, c.heads, width}, c.rows),
            .rope = {.theta = 1e4, .dims = c.rope, .interleaved = c.interleaved}};
      });
    }
  }
}

TEST_P(CudaMla, Backward) {
  const Case& c = GetParam();
  for (const DType storage : {DType::bf16, DType::f32}) {
    for (const bool in_place : {false, true}) {
      SCOPED_TRACE(in_place);
      compare_op(storage, [&](Side& s) {
        const std::int64_t width = c.nope + c.rope;
        const Tensor dq = in_place ? s.in_out("dq", {c.tokens, c.heads, width}, c.rows)
                                   : s.input("dq", {c.tokens, c.heads, width}, c.rows);
        return MlaAssembleBwd{
            .dq = dq,
            .dk = s.input("dk", {c.tokens, c.heads, width}, c.rows),
            .dv = s.input("dv", {c.tokens, c.heads, c.value}, c.rows),
            .positions = s.ints("positions", positions(c.tokens), {c.tokens}),
            .dq_up = in_place ? dq : s.output("dq_up", {c.tokens, c.heads, width}, c.rows),
            .dkv_up = s.output("dkv_up", {c.tokens, c.heads, c.nope + c.value}, c.rows),
            .dk_rope = s.output("dk_rope", {c.tokens, c.rope}, c.rows),
            .rope = {.theta = 1e4, .dims = c.rope, .interleaved = c.interleaved}};
      });
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, CudaMla, testing::ValuesIn(cases()),
                         [](const testing::TestParamInfo<Case>& info) { return info.param.name; });

}  // namespace
}  // namespace strait::kernels
