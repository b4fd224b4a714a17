#include "kernels/expert_swiglu.h"

#include "kernels/activation.h"
#include "tests/kernels/op_test.h"

namespace strait::kernels {
namespace {

using namespace test;

struct Rows {
  Rows(Buffers& b, std::int64_t width)
      : gate_up(b.normal(DType::f64, {4, 2 * width})),
        dy(b.normal(DType::f64, {4, width})),
        weight(b.normal(DType::f64, {2, 2})),
        choice_of(b.ints({2, 0, 3, 1}, {4})),
        offsets(b.ints({0, 1, 3}, {3})) {}
  Tensor gate_up, dy, weight, choice_of, offsets;
};

TEST(ExpertSwiglu, Gradients) {
  for (const std::int64_t width : {std::int64_t{1}, std::int64_t{7}}) {
    Buffers b;
    const Rows r(b, width);
    const Tensor hidden = b.poisoned(DType::f64, {4, width}), y = b.zeros(DType::f64, {4, width}),
                 dgate_up = b.zeros(DType::f64, {4, 2 * width}),
                 dweight = b.poisoned(DType::f64, {2, 2});
    auto loss = [&] {
      run(SwigluFwd{.gate_up = r.gate_up, .y = hidden});
      double sum = 0;
      for (std::int64_t n = 0; n < 3; ++n) {  // the last row has no expert
        const double weight = get(r.weight, static_cast<std::int64_t>(get(r.choice_of, n)));
        for (std::int64_t i = 0; i < width; ++i) {
          sum += weight * get(hidden, n * width + i) * get(r.dy, n * width + i);
        }
      }
      return sum;
    };
    run(ExpertSwigluBwd{.dy = r.dy,
                        .gate_up = r.gate_up,
                        .choice_of = r.choice_of,
                        .weight = r.weight,
                        .offsets = r.offsets,
                        .dgate_up = dgate_up,
                        .y = y,
                        .dweight = dweight});
    EXPECT_LE(gradient_error(r.gate_up, dgate_up, loss), kGradientTolerance);
    EXPECT_LE(gradient_error(r.weight, dweight, loss), kGradientTolerance);
    EXPECT_EQ(get(dweight, 1), 0) << "of the row without an expert";
    for (std::int64_t n = 0; n < 3; ++n) {
      const double weight = get(r.weight, static_cast<std::int64_t>(get(r.choice_of, n)));
      EXPECT_NEAR(get(y, n * width), weight * get(hidden, n * width), 1e-14);
    }
  }
}

TEST(ExpertSwiglu, RejectsMalformed) {
  Buffers b;
  const Rows r(b, 3);
  const ExpertSwigluBwd op{.dy = r.dy,
                           .gate_up = r.gate_up,
                           .choice_of = r.choice_of,
                           .weight = r.weight,
                           .offsets = r.offsets,
                           .dgate_up = r.gate_up,
                           .y = b.zeros(DType::f64, {4, 3}),
                           .dweight = b.zeros(DType::f64, {2, 2})};
  auto with = [&](auto change) {
    ExpertSwigluBwd bad = op;
    change(bad);
    return bad;
  };
  expect_rejected(with([&](auto& o) { o.gate_up = b.zeros(DType::f64, {4, 5}); }), "gate_up");
  expect_rejected(with([&](auto& o) {
                    o.weight = b.zeros(DType::f64, {3, 2});
                  }),
                  "a number for each of 4 rows");
  expect_rejected(with([&](auto& o) { o.y = o.dy.shape[0] ? r.dy : o.y; }), "y");
  expect_rejected(with([&](auto& o) { o.choice_of = b.ints({0, 1}, {2}); }), "choice_of");
}

}  // namespace
}  // namespace strait::kernels
