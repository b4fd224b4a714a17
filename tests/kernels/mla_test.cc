#include "kernels/mla.h"

#include <cmath>

#include "tests/kernels/op_test.h"

namespace strait::kernels {
namespace {

using namespace test;

struct MlaCase {
  std::string name;
  std::int64_t tokens = 5, heads = 3, nope = 4, rope = 2, value = 3;
  bool interleaved = false;
};

void PrintTo(const MlaCase& c, std::ostream* out) {
  *out << c.name;
}

struct Assembly {
  Assembly(Buffers& b, const MlaCase& c, DType type)
      : q_up(b.normal(type, {c.tokens, c.heads, c.nope + c.rope})),
        kv_up(b.normal(type, {c.tokens, c.heads, c.nope + c.value})),
        k_rope(strided_normal(b, type, c.tokens, c.rope)),
        q(b.poisoned(type, {c.tokens, c.heads, c.nope + c.rope})),
        k(b.poisoned(type, {c.tokens, c.heads, c.nope + c.rope})),
        dq(b.normal(type, {c.tokens, c.heads, c.nope + c.rope})),
        dk(b.normal(type, {c.tokens, c.heads, c.nope + c.rope})),
        dv(b.normal(type, {c.tokens, c.heads, c.value})),
        dq_up(b.poisoned(type, {c.tokens, c.heads, c.nope + c.rope})),
        dkv_up(b.poisoned(type, {c.tokens, c.heads, c.nope + c.value})),
        dk_rope(strided_poisoned(b, type, c.tokens, c.rope)),
        rotation{.theta = 50.0, .dims = c.rope, .interleaved = c.interleaved} {
    std::vector<std::int32_t> at;
    for (std::int64_t t = 0; t < c.tokens; ++t)
      at.push_back(static_cast<std::int32_t>(b.below(99)));
    positions = b.ints(at, {c.tokens});
  }

  MlaAssembleFwd forward() const {
    return {.q_up = q_up,
            .kv_up = kv_up,
            .k_rope = k_rope,
            .positions = positions,
            .q = q,
            .k = k,
            .rope = rotation};
  }

  MlaAssembleBwd backward() const {
    return {.dq = dq,
            .dk = dk,
            .dv = dv,
            .positions = positions,
            .dq_up = dq_up,
            .dkv_up = dkv_up,
            .dk_rope = dk_rope,
            .rope = rotation};
  }

  /// Values are a view of kv_up, so they enter the loss without an op.
  double loss() const {
    run(forward());
    const Tensor v = kv_up.slice(2, q.shape[2] - rotation.dims, dv.shape[2]);
    return dot(q, dq) + dot(k, dk) + dot(v, dv);
  }

  Tensor q_up, kv_up, k_rope, q, k, dq, dk, dv, dq_up, dkv_up, dk_rope, positions;
  Rope rotation;
};

class MlaAssemble : public testing::TestWithParam<MlaCase> {};

TEST_P(MlaAssemble, MatchesTheDefinition) {
  Buffers b;
  const MlaCase& c = GetParam();
  const Assembly a(b, c, DType::f64);
  run(a.forward());
  const std::int64_t width = c.nope + c.rope, pairs = c.rope / 2;
  const auto rotated = [&](const auto& channel, std::int64_t t, std::int64_t i) {
    const std::int64_t pair = c.interleaved ? i / 2 : i % pairs;
    const bool second = c.interleaved ? i % 2 == 1 : i >= pairs;
    const double angle =
        get(a.positions, t) * std::pow(50.0, -2.0 * static_cast<double>(pair) / c.rope);
    const double x = channel(c.interleaved ? 2 * pair : pair);
    const double y = channel(c.interleaved ? 2 * pair + 1 : pair + pairs);
    return second ? y * std::cos(angle) + x * std::sin(angle)
                  : x * std::cos(angle) - y * std::sin(angle);
  };
  for (std::int64_t row = 0; row < c.tokens * c.heads; ++row) {
    const std::int64_t t = row / c.heads;
    for (std::int64_t i = 0; i < c.nope; ++i) {
      EXPECT_EQ(get(a.q, row * width + i), get(a.q_up, row * width + i));
      EXPECT_EQ(get(a.k, row * width + i), get(a.kv_up, row * (c.nope + c.value) + i));
    }
    const auto query = [&](std::int64_t i) { return get(a.q_up, row * width + c.nope + i); };
    const auto key = [&](std::int64_t i) { return get(a.k_rope, t * c.rope + i); };
    for (std::int64_t i = 0; i < c.rope; ++i) {
      EXPECT_NEAR(get(a.q, row * width + c.nope + i), rotated(query, t, i), 1e-13);
      EXPECT_NEAR(get(a.k, row * width + c.nope + i), rotated(key, t, i), 1e-13);
    }
  }
}

TEST_P(MlaAssemble, GradientsMatchFiniteDifferences) {
  Buffers b;
  const Assembly a(b, GetParam(), DType::f64);
  run(a.backward());
  const auto loss = [&] { return a.loss(); };
  EXPECT_LE(gradient_error(a.q_up, a.dq_up, loss), kGradientTolerance);
  EXPECT_LE(gradient_error(a.kv_up, a.dkv_up, loss), kGradientTolerance);
  EXPECT_LE(gradient_error(a.k_rope, a.dk_rope, loss), kGradientTolerance);
}

TEST_P(MlaAssemble, WorksInPlaceAndTwiceAlike) {
  Buffers b;
  const Assembly a(b, GetParam(), DType::f32);
  run(a.forward());
  run(a.backward());
  MlaAssembleFwd forward = a.forward();
  forward.q = b.converted(a.q_up, DType::f32);
  forward.q_up = forward.q;
  forward.k = b.poisoned(DType::f32, {a.k.shape[0], a.k.shape[1], a.k.shape[2]});
  run(forward);
  EXPECT_TRUE(bit_equal(forward.q, a.q));
  EXPECT_TRUE(bit_equal(forward.k, a.k));
  MlaAssembleBwd backward = a.backward();
  backward.dq_up = b.converted(a.dq, DType::f32);
  backward.dq = backward.dq_up;
  backward.dkv_up = b.poisoned(DType::f32, {a.k.shape[0], a.k.shape[1], a.dkv_up.shape[2]});
  run(backward);
  EXPECT_TRUE(bit_equal(backward.dq_up, a.dq_up));
  EXPECT_TRUE(bit_equal(backward.dkv_up, a.dkv_up));
}

INSTANTIATE_TEST_SUITE_P(
    All, MlaAssemble,
    testing::Values(MlaCase{.name = "plain"},
                    MlaCase{.name = "interleaved", .rope = 6, .interleaved = true},
                    MlaCase{.name = "one_token", .tokens = 1},
                    MlaCase{.name = "one_head", .heads = 1},
                    MlaCase{.name = "no_nope", .nope = 0, .rope = 4},
                    MlaCase{.name = "wide_values", .nope = 3, .rope = 4, .value = 9}),
    [](const testing::TestParamInfo<MlaCase>& info) { return info.param.name; });

TEST(MlaAssembleCheck, RejectsMalformedOps) {
  Buffers b;
  const Assembly a(b, {}, DType::f64);
  MlaAssembleFwd op = a.forward();
  op.rope.dims = 4;
  expect_rejected(op, "rope.dims = 4, r = 2");
  op = a.forward();
  op.k = a.q_up;
  expect_rejected(op, "overlaps q_up");
  op = a.forward();
  op.kv_up = b.normal(DType::f64, {5, 2, 7});
  expect_rejected(op, "kv_up: expected shape [5, 3, *]");
  op = a.forward();
  op.k_rope = b.normal(DType::f32, {5, 2});
  expect_rejected(op, "k_rope: expected dtype f64");
  MlaAssembleBwd back = a.backward();
  back.dkv_up = b.normal(DType::f64, {5, 3, 9});
  expect_rejected(back, "dkv_up: expected shape [5, 3, 7]");
}

}  // namespace
}  // namespace strait::kernels
