#include "kernels/expert_swiglu.h"

#include <numeric>

#include "tests/kernels_cuda/device_test.h"

namespace strait::kernels {
namespace {

using namespace test;

using CudaExpertSwiglu = DeviceTest;

/// With `fewer` the last rows have no expert.
ExpertSwigluBwd backward(Side& s, std::int64_t tokens, std::int64_t chosen, std::int64_t width,
                         Make rows, std::int32_t fewer = 0) {
  const std::int64_t count = tokens * chosen;
  std::vector<std::int32_t> choice_of(static_cast<std::size_t>(count));
  std::iota(choice_of.rbegin(), choice_of.rend(), 0);
  const auto end = static_cast<std::int32_t>(count) - fewer;
  const auto written = fewer == 0 ? &Side::output : &Side::in_out;
  return {.dy = s.input("dy", {count, width}, rows),
          .gate_up = s.input("gate_up", {count, 2 * width}, rows),
          .choice_of = s.ints("choice_of", choice_of, {count}),
          .weight = s.input("weight", {tokens, chosen}, {.stat = true}),
          .offsets = s.ints("offsets", {0, end / 2, end}, {3}),
          .dgate_up = (s.*written)("dgate_up", {count, 2 * width}, rows),
          .y = (s.*written)("y", {count, width}, rows),
          .dweight = s.output("dweight", {tokens, chosen}, {.stat = true})};
}

TEST_F(CudaExpertSwiglu, Backward) {
  for (const DType storage : {DType::bf16, DType::f32}) {
    for (const Make& rows : {Make{}, kOddRows, kPaddedRows}) {
      compare_op(storage, [&](Side& s) { return backward(s, 77, 1, 448, rows); });
      compare_op(storage, [&](Side& s) { return backward(s, 20, 4, 61, rows); });
    }
  }
}

TEST_F(CudaExpertSwiglu, RowsOfNoExpertGetNoGradient) {
  for (const DType storage : {DType::bf16, DType::f32}) {
    compare_op(storage, [&](Side& s) { return backward(s, 40, 1, 64, {}, 10); });
  }
}

}  // namespace
}  // namespace strait::kernels
