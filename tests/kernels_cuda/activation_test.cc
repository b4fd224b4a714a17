#include "kernels/activation.h"

#include "tests/kernels_cuda/device_test.h"

namespace strait::kernels {
namespace {

using namespace test;

class CudaSwiglu : public DeviceTest {};

struct Case {
  std::int64_t rows, width;
  Make make = {};
};

const Case kCases[] = {
    {1, 1}, {5, 7}, {300, 24}, {9, 5632}, {7, 65, kOddRows}, {6, 100, kPaddedRows}};

TEST_F(CudaSwiglu, Forward) {
  for (const DType storage : {DType::f32, DType::bf16}) {
    for (const Case& c : kCases) {
      SCOPED_TRACE(c.width);
      Make gates = c.make;
      gates.scale = 4;  // into the flat parts of the sigmoid
      compare_op(storage, [&](Side& s) {
        return SwigluFwd{.gate_up = s.input("gate_up", {c.rows, 2 * c.width}, gates),
                         .y = s.output("y", {c.rows, c.width}, c.make)};
      });
    }
  }
}

TEST_F(CudaSwiglu, Backward) {
  for (const DType storage : {DType::f32, DType::bf16}) {
    for (const Case& c : kCases) {
      SCOPED_TRACE(c.width);
      Make gates = c.make;
      gates.scale = 4;
      compare_op(storage, [&](Side& s) {
        return SwigluBwd{.dy = s.input("dy", {c.rows, c.width}, c.make),
                         .gate_up = s.input("gate_up", {c.rows, 2 * c.width}, gates),
                         .dgate_up = s.output("dgate_up", {c.rows, 2 * c.width}, c.make)};
      });
      compare_op(storage, [&](Side& s) {
        const Tensor both = s.in_out("gate_up", {c.rows, 2 * c.width}, gates);
        return SwigluBwd{
            .dy = s.input("dy", {c.rows, c.width}, c.make), .gate_up = both, .dgate_up = both};
      });
    }
  }
}

TEST_F(CudaSwiglu, LargeGatesStayFinite) {
  for (const DType storage : {DType::f32, DType::bf16}) {
    compare_op(storage, [&](Side& s) {
      return SwigluFwd{.gate_up = s.values("gate_up", {-200, -90, 90, 200, 1, 1, 1, 1}, {1, 8}),
                       .y = s.output("y", {1, 4})};
    });
  }
}

}  // namespace
}  // namespace strait::kernels
