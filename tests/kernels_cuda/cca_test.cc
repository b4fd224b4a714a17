#include "kernels/cca.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "tests/kernels_cuda/device_test.h"

namespace strait::kernels {
namespace {

using namespace test;

struct Case {
  std::string name;
  std::vector<std::int64_t> documents;  // lengths, packed
  std::int64_t heads = 4, groups = 2, width = 64, taps0 = 2, taps1 = 2;
  std::int64_t delayed = 64;  // of the G d value channels
  CcaMixSwitches switches = {};
  Rope rope = {.theta = 1e4, .dims = 32};
  std::int64_t chunks = 1;
  bool halos = false;
  bool wide_biases = false;  // f32 beside bf16
  Make rows = {};

  std::int64_t tokens() const {
    std::int64_t sum = 0;
    for (std::int64_t length : documents) sum += length;
    return sum;
  }
  std::int64_t channels() const { return (heads + groups) * width; }
  std::int64_t halo() const {
    return (switches.convs >= 1 ? taps0 - 1 : 0) + (switches.convs == 2 ? taps1 - 1 : 0);
  }
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << c.name;
}

/// Heads of 128 and two taps each: the fused path on Hopper.
std::vector<Case> fused_cases() {
  std::vector<Case> all = {
      {.name = "documents", .documents = {70, 1, 1, 64, 2, 130, 5}, .wide_biases = true},
      {.name = "one_row", .documents = {1}},
      {.name = "grouped", .documents = {140, 160}, .heads = 8, .delayed = 128},
      {.name = "halos",
       .documents = {60, 100, 1, 79},
       .chunks = 3,
       .halos = true,
       .rows = kPaddedRows},
      {.name = "chunks_of_one_row",
       .documents = {3, 1, 5},
       .heads = 4,
       .groups = 4,
       .chunks = 9,
       .halos = true},
      {.name = "chunks_without_halos", .documents = {130, 126}, .heads = 6, .chunks = 4},
      {.name = "half_rotated", .documents = {129}, .groups = 1, .rope = {1e4, 64}},
      {.name = "no_rope_no_delay", .documents = {62, 65}, .delayed = 0, .rope = {}}};
  for (Case& c : all) c.switches.qk_mean = c.documents.size() != 1;
  // Odd lengths, every kind of group, documents of one row, many tiles a block.
  const std::vector<Case> odd = {
      {.name = "t113_4over4", .documents = {113}, .groups = 4},
      {.name = "t239_4over1", .documents = {239}, .groups = 1},
      {.name = "t799_6over2", .documents = {1, 1, 500, 1, 296}, .heads = 6, .delayed = 128},
      {.name = "t1023_8over8", .documents = {1023}, .heads = 8, .groups = 8, .delayed = 512},
      {.name = "t4097_2over2", .documents = {4097}, .heads = 2, .delayed = 128},
      {.name = "t4097_4over2", .documents = {2048, 1, 2048}},
      {.name = "ones", .documents = std::vector<std::int64_t>(150, 1), .rows = kPaddedRows}};
  all.insert(all.end(), odd.begin(), odd.end());
  for (Case& c : all) {
    c.name = "fused_" + c.name;
    c.width = 128;
    if (c.rope.dims == 32) c.rope.dims = 128;
    c.switches.temperature = c.halos ? KeyTemperature::linear : KeyTemperature::exp;
  }
  return all;
}

std::vector<Case> switch_cases() {
  std::vector<Case> all;
  for (int convs : {0, 1, 2}) {
    for (bool mean : {false, true}) {
      Case c{.name = "convs" + std::to_string(convs) + (mean ? "_mean" : ""),
             .documents = {80, 20},
             .chunks = 2,
             .halos = true};
      c.switches = {convs, mean, mean ? KeyTemperature::linear : KeyTemperature::exp};
      all.push_back(c);
      c.name += "_no_norm";
      c.switches.norm = false;
      all.push_back(c);
      c.name += "_d128";
      c.width = 128;
      all.push_back(c);
    }
  }
  return all;
}

std::vector<Case> cases() {
  std::vector<Case> all = {
      {.name = "one_token", .documents = {1}},
      {.name = "t113", .documents = {113}, .rows = kPaddedRows},
      {.name = "t799_d128", .documents = {799}, .heads = 2, .groups = 2, .width = 128},
      {.name = "documents", .documents = {70, 1, 1, 64, 2, 130, 5}, .wide_biases = true},
      {.name = "one_kv_head", .documents = {90}, .heads = 3, .groups = 1, .delayed = 32},
      {.name = "odd_width",
       .documents = {40, 9},
       .heads = 6,
       .groups = 3,
       .width = 5,
       .delayed = 7,
       .rope = {.theta = 100, .dims = 4, .interleaved = true},
       .rows = kOddRows},
      {.name = "golden_8",
       .documents = {24},
       .width = 8,
       .delayed = 8,
       .rope = {.theta = 1e4, .dims = 8}},
      {.name = "golden_12",
       .documents = {17, 7},
       .width = 12,
       .delayed = 12,
       .rope = {.theta = 1e4, .dims = 6}},
      {.name = "wide",
       .documents = {66, 31},
       .heads = 2,
       .groups = 1,
       .width = 256,
       .delayed = 128,
       .rope = {.theta = 1e4, .dims = 256}},
      {.name = "width_72", .documents = {66}, .heads = 2, .groups = 1, .width = 72, .delayed = 36},
      {.name = "no_rope_no_delay", .documents = {50}, .delayed = 0, .rope = {}},
      {.name = "all_delayed", .documents = {33, 20}, .delayed = 128},
      {.name = "chunks_without_halos", .documents = {60, 100}, .chunks = 4},
      {.name = "chunks_with_halos",
       .documents = {60, 100, 1, 79},
       .taps0 = 3,
       .taps1 = 3,
       .chunks = 3,
       .halos = true},
      {.name = "chunks_of_one_row",
       .documents = {3, 1, 5},
       .width = 16,
       .taps0 = 2,
       .taps1 = 3,
       .delayed = 16,
       .rope = {.theta = 1e4, .dims = 8},
       .chunks = 9,
       .halos = true},
  };
  for (const Case& c : fused_cases()) all.push_back(c);
  for (const Case& c : switch_cases()) all.push_back(c);
  for (auto [taps0, taps1] : {std::pair{1, 1}, {1, 3}, {3, 1}, {4, 3}, {8, 8}}) {
    all.push_back({.name = "taps" + std::to_string(taps0) + "x" + std::to_string(taps1),
                   .documents = {1, 1, 66, 2, 90},
                   .width = 32,
                   .taps0 = taps0,
                   .taps1 = taps1,
                   .delayed = 32,
                   .chunks = 2,
                   .halos = taps0 + taps1 > 2});
  }
  return all;
}

/// Fields that CcaMixFwd and CcaMixBwd share.
template <class Op>
void set_inputs(Side& s, const Case& c, Op& op) {
  const std::int64_t tokens = c.tokens(), e = c.heads + c.groups;
  std::vector<std::int32_t> doc_pos, positions;
  for (std::int64_t length : c.documents) {
    for (std::int64_t i = 0; i < length; ++i) {
      doc_pos.push_back(static_cast<std::int32_t>(i));
      positions.push_back(static_cast<std::int32_t>(3 * i + 1));
    }
  }
  const Make wide{.stat = c.wide_biases, .scale = 0.5};
  op.z = s.input("z", {tokens, c.channels()}, c.rows);
  if (c.switches.norm) op.temp = s.input("temp", {c.groups}, wide);
  op.positions = s.ints("positions", positions, {tokens});
  op.doc_pos = s.ints("doc_pos", doc_pos, {tokens});
  if (c.switches.convs >= 1) {
    op.w0 = s.input("w0", {c.taps0, c.channels()});
    op.b0 = s.input("b0", {c.channels()}, wide);
  }
  if (c.switches.convs == 2) {
    const double scale = 1 / std::sqrt(static_cast<double>(c.taps1 * c.width));
    op.w1 = s.input("w1", {e, c.taps1 * c.width, c.width}, {.scale = scale});
    op.b1 = s.input("b1", {e, c.width}, wide);
  }
  if (c.halos && c.halo() > 0) {
    // Nothing lies before the first chunk: what stands there must not be read.
    const std::int64_t columns = c.halo() * c.channels();
    strait::test::Buffers random(11);
    auto halo = strait::test::values(random.normal(DType::f64, {c.chunks * columns}));
    std::fill_n(halo.begin(), columns, std::numeric_limits<double>::quiet_NaN());
    op.halo_z = s.values("halo_z", halo, {c.chunks, c.halo(), c.channels()});
  }
  op.chunk = tokens / c.chunks;
  op.switches = c.switches;
  op.rope = c.rope;
}

CcaMixFwd forward(Side& s, const Case& c) {
  CcaMixFwd op;
  set_inputs(s, c, op);
  const std::int64_t tokens = c.tokens(), values = c.groups * c.width;
  if (c.delayed < values) op.v_cur = s.input("v_cur", {tokens, values - c.delayed}, c.rows);
  if (c.delayed > 0) op.v_del = s.input("v_del", {tokens, c.delayed}, c.rows);
  if (c.delayed > 0 && c.halos) op.halo_v = s.input("halo_v", {c.chunks, c.delayed});
  op.q = s.output("q", {tokens, c.heads, c.width}, c.rows);
  op.k = s.output("k", {tokens, c.groups, c.width}, c.rows);
  // Heads follow one another: padding goes around all of them.
  op.v = s.output("v", {tokens, values}, c.rows).split_last(c.groups, c.width);
  return op;
}

CcaMixBwd backward(Side& s, const Case& c) {
  CcaMixBwd op;
  set_inputs(s, c, op);
  const std::int64_t tokens = c.tokens(), values = c.groups * c.width, e = c.heads + c.groups;
  op.dq = s.input("dq", {tokens, c.heads, c.width}, c.rows);
  op.dk = s.input("dk", {tokens, c.groups, c.width}, c.rows);
  op.dv = s.input("dv", {tokens, values}, c.rows).split_last(c.groups, c.width);
  op.dz = s.output("dz", {tokens, c.channels()}, c.rows);
  if (c.delayed < values) op.dv_cur = s.output("dv_cur", {tokens, values - c.delayed}, c.rows);
  if (c.delayed > 0) op.dv_del = s.output("dv_del", {tokens, c.delayed}, c.rows);
  if (op.halo_z.defined()) {
    op.dhalo_z = s.output("dhalo_z", {c.chunks, c.halo(), c.channels()});
  }
  if (c.delayed > 0 && c.halos) op.dhalo_v = s.output("dhalo_v", {c.chunks, c.delayed});
  const Make sum{.stat = true};
  if (c.switches.convs >= 1) {
    op.dw0 = s.in_out("dw0", {c.taps0, c.channels()}, sum);
    op.db0 = s.in_out("db0", {c.channels()}, sum);
  }
  if (c.switches.convs == 2) {
    op.dw1 = s.in_out("dw1", {e, c.taps1 * c.width, c.width}, sum);
    op.db1 = s.in_out("db1", {e, c.width}, sum);
  }
  if (c.switches.norm) op.dtemp = s.in_out("dtemp", {c.groups}, sum);
  return op;
}

class CudaCcaMix : public DeviceTest, public testing::WithParamInterface<Case> {};

TEST_P(CudaCcaMix, Forward) {
  for (const DType storage : {DType::bf16, DType::f32}) {
    compare_op(storage, [&](Side& s) { return forward(s, GetParam()); });
  }
}

const ConstTensor& view_of(const std::vector<Side::Result>& results, const char* name) {
  const auto at = std::find_if(results.begin(), results.end(),
                               [&](const Side::Result& r) { return r.name == name; });
  return at->view;
}

/// dtemp in bf16. It is one number per group in which T d products of either sign cancel, so its
/// own size says nothing about its error: what counts is the size of such a sum, sqrt(T d), times
/// tau when that is the slope. Two roundings to bf16 of a number of that size are allowed.
void expect_close_sum(const Case& c, const std::vector<Side::Result>& device,
                      const std::vector<Side::Result>& wide) {
  const ConstTensor &got = view_of(device, "dtemp"), &want = view_of(wide, "dtemp");
  const double size = std::sqrt(static_cast<double>(c.tokens() * c.width));
  for (std::int64_t j = 0; j < c.groups; ++j) {
    const bool linear = c.switches.temperature == KeyTemperature::linear;
    const double slope = linear ? 1 : std::exp(get(view_of(wide, "temp"), j));
    EXPECT_NEAR(get(got, j), get(want, j), 2 * 0x1.0p-9 * size * slope) << "dtemp of group " << j;
  }
}

/// The sums of the parameters' gradients are float beside bf16, but a naive evaluation of the layer
/// in bf16 has rounded everything that enters them: they are judged as bf16.
TEST_P(CudaCcaMix, Backward) {
  compare_op(DType::f32, [&](Side& s) { return backward(s, GetParam()); });
  compare_op(
      DType::bf16, [&](Side& s) { return backward(s, GetParam()); }, {},
      [&](Draw& draw) {
        if (GetParam().switches.norm) expect_close_sum(GetParam(), draw.device, draw.wide);
        for (Side::Result& r : draw.device) {
          if (r.name == "dtemp") r.written = false;
          if (r.storage == DType::f32) r.storage = DType::bf16;
        }
      });
}

INSTANTIATE_TEST_SUITE_P(All, CudaCcaMix, testing::ValuesIn(cases()),
                         [](const testing::TestParamInfo<Case>& info) { return info.param.name; });

using CudaCcaMixOps = DeviceTest;

TEST_F(CudaCcaMixOps, RejectsWideHeadsAndLongConvolutions) {
  const Case wide{.name = "", .documents = {3}, .width = 264};
  expect_unsupported(
      DType::bf16, [&](Side& s) { return forward(s, wide); }, "at most 256");
  const Case taps{.name = "", .documents = {3}, .taps0 = 9};
  expect_unsupported(
      DType::bf16, [&](Side& s) { return backward(s, taps); }, "at most 8 taps");
}

}  // namespace
}  // namespace strait::kernels
