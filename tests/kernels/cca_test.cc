#include "kernels/cca.h"

#include <cmath>
#include <utility>

#include "tests/kernels/cca_mix.h"

namespace strait::kernels {
namespace {

using namespace test;

std::vector<MixCase> cases() {
  std::vector<MixCase> out;
  for (int convs : {0, 1, 2}) {
    for (bool mean : {false, true}) {
      for (KeyTemperature temperature : {KeyTemperature::exp, KeyTemperature::linear}) {
        const bool linear = temperature == KeyTemperature::linear;
        out.push_back({.name = "convs" + std::to_string(convs) + (mean ? "_mean" : "") +
                               (linear ? "_linear" : "_exp"),
                       .documents = {3, 1, 4},
                       .delayed = mean == linear ? 0 : 4,
                       .switches = {convs, mean, temperature}});
      }
    }
  }
  for (int convs : {0, 1, 2}) {
    for (bool mean : {false, true}) {
      out.push_back({.name = "convs" + std::to_string(convs) + (mean ? "_mean" : "") + "_no_norm",
                     .documents = {3, 1, 4},
                     .switches = {.convs = convs, .qk_mean = mean, .norm = false}});
    }
  }
  for (auto [taps0, taps1] : {std::pair{1, 1}, {1, 3}, {3, 1}, {4, 3}}) {
    out.push_back({.name = "taps" + std::to_string(taps0) + "x" + std::to_string(taps1),
                   .documents = {1, 1, 6, 2},
                   .taps0 = taps0,
                   .taps1 = taps1});
  }
  out.push_back({.name = "three_taps_depthwise_only",
                 .documents = {2, 4},
                 .taps0 = 3,
                 .switches = {.convs = 1}});
  out.push_back({.name = "one_token", .documents = {1}});
  out.push_back({.name = "one_head", .documents = {5}, .heads = 1, .groups = 1, .delayed = 2});
  out.push_back({.name = "one_kv_head", .documents = {5}, .heads = 3, .groups = 1, .delayed = 2});
  out.push_back(
      {.name = "three_kv_heads", .documents = {4, 2}, .heads = 3, .groups = 3, .delayed = 6});
  out.push_back({.name = "all_values_delayed", .documents = {4, 2}, .delayed = 8});
  out.push_back(
      {.name = "odd_width", .documents = {4}, .heads = 6, .groups = 3, .width = 5, .delayed = 7});
  out.push_back({.name = "no_rope", .documents = {4}, .rope = {}});
  return out;
}

std::string name_of_case(const testing::TestParamInfo<MixCase>& info) {
  return info.param.name;
}

class CcaMix : public testing::TestWithParam<MixCase> {};

TEST_P(CcaMix, MatchesTheEquations) {
  Buffers b;
  const Mix mix(b, GetParam(), DType::f64);
  Mix want = mix;
  want.allocate(b);
  run(mix.forward());
  MixReference<double>(mix).fill(want);
  EXPECT_LE(relative_l2(mix.q, want.q), 1e-13);
  EXPECT_LE(relative_l2(mix.k, want.k), 1e-13);
  EXPECT_TRUE(bit_equal(mix.v, want.v));
}

void expect_gradients(const Mix& mix) {
  run(mix.backward());
  const std::vector<Tensor> inputs = mix.inputs(), gradients = mix.gradients();
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    ASSERT_EQ(inputs[i].defined(), gradients[i].defined()) << i;
    if (!inputs[i].defined()) continue;
    EXPECT_LE(gradient_error(inputs[i], gradients[i], [&] { return mix.loss(); }),
              kGradientTolerance)
        << "input " << i;
  }
}

TEST_P(CcaMix, GradientsMatchFiniteDifferences) {
  Buffers b;
  expect_gradients(Mix(b, GetParam(), DType::f64));
}

TEST_P(CcaMix, GradientsWithHalosMatchFiniteDifferences) {
  Buffers b;
  Mix mix(b, GetParam(), DType::f64);
  mix.cut(b, mix.c.tokens() % 2 == 0 ? 2 : 1);
  // Finite everywhere: nothing reaches before a document all the same.
  for (const Tensor& halo : {mix.halo_z, mix.halo_v}) {
    for (std::int64_t i = 0; i < halo.numel(); ++i) {
      if (std::isnan(get(halo, i))) set(halo, i, 0.5);
    }
  }
  expect_gradients(mix);
}

/// Of everything `want` has; halos of `got` do not count.
void expect_same_gradients(const Mix& got, const Mix& want, double tolerance) {
  const std::vector<Tensor> a = got.gradients(), b = want.gradients();
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (!b[i].defined()) continue;
    EXPECT_LE(relative_l2(a[i], b[i]), tolerance) << "gradient " << i;
  }
}

TEST_P(CcaMix, ChunksWithHalosEqualTheUncutSequence) {
  Buffers b;
  const Mix whole(b, GetParam(), DType::f64);
  run(whole.forward());
  run(whole.backward());
  for (std::int64_t rows = 1; rows <= whole.c.tokens(); ++rows) {
    if (whole.c.tokens() % rows != 0) continue;
    SCOPED_TRACE(rows);
    Mix parts = whole;
    parts.allocate(b);
    parts.cut(b, rows);
    run(parts.forward());
    run(parts.backward());
    parts.add_halo_gradients();
    EXPECT_LE(relative_l2(parts.q, whole.q), 1e-13);
    EXPECT_LE(relative_l2(parts.k, whole.k), 1e-13);
    EXPECT_TRUE(bit_equal(parts.v, whole.v));
    expect_same_gradients(parts, whole, 1e-13);
  }
}

INSTANTIATE_TEST_SUITE_P(All, CcaMix, testing::ValuesIn(cases()), name_of_case);

/// Several blocks of rows in a chunk.
MixCase long_case() {
  return {.name = "long",
          .documents = {200, 1, 131, 28},
          .width = 8,
          .taps0 = 3,
          .taps1 = 3,
          .delayed = 8,
          .rope = {.theta = 1e4, .dims = 8}};
}

TEST(CcaMixLong, BlocksOfRowsMeetWithoutASeam) {
  Buffers b;
  const Mix whole(b, long_case(), DType::f64);
  Mix want = whole, parts = whole;
  want.allocate(b);
  parts.allocate(b);
  run(whole.forward());
  MixReference<double>(whole).fill(want);
  EXPECT_LE(relative_l2(whole.q, want.q), 1e-13);
  EXPECT_LE(relative_l2(whole.k, want.k), 1e-13);
  run(whole.backward());
  parts.cut(b, 60);
  run(parts.backward());
  parts.add_halo_gradients();
  expect_same_gradients(parts, whole, 1e-12);
}

TEST(CcaMixLong, FloatErrorIsLikeNaiveFloat) {
  Buffers b;
  const Mix narrow(b, long_case(), DType::f32);
  Mix naive = narrow, wide = narrow;
  naive.allocate(b);
  wide.type = DType::f64;
  wide.allocate(b);
  run(narrow.forward());
  MixReference<float>(narrow).fill(naive);
  MixReference<double>(narrow).fill(wide);
  expect_like_naive(narrow.q, naive.q, wide.q);
  expect_like_naive(narrow.k, naive.k, wide.k);
}

TEST(CcaMixLong, IsBitEqualTwice) {
  Buffers b;
  const Mix first(b, long_case(), DType::f32);
  Mix second = first;
  second.allocate(b);
  for (const Mix* mix : {&first, &std::as_const(second)}) {
    run(mix->forward());
    run(mix->backward());
  }
  EXPECT_TRUE(bit_equal(first.q, second.q));
  EXPECT_TRUE(bit_equal(first.k, second.k));
  expect_same_gradients(first, second, 0.0);
}

TEST(CcaMixFwd, LinearTemperatureOfZeroStillTrains) {
  Buffers b;
  MixCase c{.name = "", .documents = {5}};
  c.switches.temperature = KeyTemperature::linear;
  const Mix mix(b, c, DType::f64);
  for (std::int64_t j = 0; j < 2; ++j) set(mix.temp, j, 0.0);
  run(mix.forward());
  EXPECT_EQ(dot(mix.k, mix.k), 0.0);
  expect_gradients(mix);
  EXPECT_GT(dot(mix.dtemp, mix.dtemp), 0.0);
}

TEST(CcaMixFwd, WithoutHalosAChunkIsASequence) {
  Buffers b;
  const MixCase c{.name = "", .documents = {4, 4}};
  Mix restarted(b, c, DType::f64), continued = restarted;
  continued.allocate(b);
  restarted.chunk = continued.chunk = 4;
  continued.doc_pos = b.ints({7, 8, 9, 10, 0, 1, 2, 3}, {8});
  run(restarted.forward());
  run(continued.forward());
  run(restarted.backward());
  run(continued.backward());
  EXPECT_TRUE(bit_equal(restarted.q, continued.q));
  EXPECT_TRUE(bit_equal(restarted.v, continued.v));
  EXPECT_TRUE(bit_equal(restarted.dz, continued.dz));
  EXPECT_TRUE(bit_equal(restarted.dv_del, continued.dv_del));
}

TEST(CcaMixBwd, ParameterGradientsAccumulate) {
  Buffers b;
  const Mix once(b, {.name = "", .documents = {3, 4}}, DType::f64);
  Mix twice = once;
  twice.allocate(b);
  run(once.backward());
  run(twice.backward());
  run(twice.backward());
  EXPECT_TRUE(bit_equal(once.dz, twice.dz));
  const std::vector<Tensor> single = once.gradients(), doubled = twice.gradients();
  for (std::size_t i = 5; i < single.size(); ++i) {
    for (std::int64_t e = 0; e < single[i].numel(); ++e) {
      EXPECT_NEAR(get(doubled[i], e), 2 * get(single[i], e), 1e-12) << i;
    }
  }
}

TEST(CcaMixWork, CountsTheConvolutionsSwitchedOn) {
  Buffers b;
  MixCase c{.name = "", .documents = {7}, .taps0 = 3, .taps1 = 2};
  const double channels = 6 * 4;
  Mix mix(b, c, DType::f64);
  EXPECT_EQ(work(mix.forward()).flops, 2 * 7 * channels * (3 + 2 * 4));
  EXPECT_EQ(work(mix.backward()).flops, 3 * work(mix.forward()).flops);
  c.switches.convs = 1;
  EXPECT_EQ(work(Mix(b, c, DType::f64).forward()).flops, 2 * 7 * channels * 3);
  c.switches.convs = 0;
  EXPECT_EQ(work(Mix(b, c, DType::f64).forward()).flops, 0);
}

TEST(CcaMixCheck, RejectsMalformedOps) {
  Buffers b;
  const Mix mix(b, {.name = "", .documents = {6}}, DType::f64);
  CcaMixFwd op = mix.forward();
  op.chunk = 4;
  expect_rejected(op, "chunk = 4, T = 6");
  op = mix.forward();
  op.switches.convs = 3;
  expect_rejected(op, "convs must be 0, 1 or 2, got 3");
  op = mix.forward();
  op.switches.convs = 1;
  expect_rejected(op, "w1: expected to be present exactly when convs = 2");
  op = mix.forward();
  op.switches.norm = false;
  expect_rejected(op, "temp: expected to be present exactly with switches.norm");
  op = mix.forward();
  op.v_del = {};
  expect_rejected(op, "8 channels together, got 4");
  op = mix.forward();
  op.w1 = b.normal(DType::f64, {6, 7, 4});
  expect_rejected(op, "w1");
  op = mix.forward();
  op.halo_z = b.normal(DType::f64, {1, 3, 24});
  expect_rejected(op, "halo_z: expected shape [1, 2, 24]");
  op = mix.forward();
  op.rope.dims = 6;
  expect_rejected(op, "rope.dims");
  op = mix.forward();
  op.v = mix.k;
  expect_rejected(op, "overlaps v");
  CcaMixBwd back = mix.backward();
  back.dhalo_z = b.normal(DType::f64, {1, 2, 24});
  expect_rejected(back, "dhalo_z: expected to be present exactly when halo_z is");
  back = mix.backward();
  back.dw0 = b.normal(DType::f64, {3, 24});
  expect_rejected(back, "dw0");
}

}  // namespace
}  // namespace strait::kernels
