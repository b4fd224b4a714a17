#include "core/param_table.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <string>

#include "core/error.h"
#include "tests/support/message_of.h"
#include "tests/support/tensors.h"

namespace strait::core {
namespace {

using test::get;
using test::set;
using test::values;

ParamSpec fused(const std::string& first = "a", const std::string& second = "b") {
  const std::int64_t size_of_a = 4, size_of_b = 2;
  ParamSpec spec{.name = "fused", .shape = {6, 3}};
  for (const std::string& name : {first, second}) {
    spec.sections.push_back({name, name == "a" ? size_of_a : size_of_b});
  }
  return spec;
}

/// Values of every part after initialisation, by name.
std::map<std::string, std::vector<double>> parts_of(ParamTable& table, std::uint64_t seed) {
  table.allocate(Device::cpu);
  table.initialise(seed, Stream{});
  std::map<std::string, std::vector<double>> all;
  for (const Part& part : table.parts()) all[part.name] = values(part.view(part.param->weight));
  return all;
}

/// The error of adding `spec` to a table that holds "taken".
std::string refusal(ParamSpec spec) {
  ParamTable table(DType::f32);
  table.add({.name = "taken", .shape = {1}});
  return test::message_of<InputError>([&] { table.add(std::move(spec)); });
}

TEST(ParamTable, RefusesImpossibleParameters) {
  EXPECT_NE(refusal({.name = "taken", .shape = {1}}).find("taken is registered twice"),
            std::string::npos);
  EXPECT_NE(refusal({.name = "flat", .shape = {}}).find("flat: rank must be 1 to 3, got 0"),
            std::string::npos);
  EXPECT_NE(refusal({.name = "deep", .shape = {1, 1, 1, 1}}).find("got 4"), std::string::npos);
  ParamSpec short_sections = fused();
  short_sections.shape = {7, 3};
  EXPECT_NE(refusal(short_sections).find("sections hold 6 rows, the parameter has 7"),
            std::string::npos);
  const std::string odd = refusal({.name = "odd", .shape = {9, 4}, .shard = {0, Axis::tp, 2, 0}});
  EXPECT_NE(odd.find("odd: 9 rows do not divide over 2 ranks; lower parallel.tp"),
            std::string::npos)
      << odd;
  ParamSpec odd_section = fused();
  odd_section.shape = {6, 3};
  odd_section.sections = {{"a", 3}, {"b", 3}};
  odd_section.shard = {0, Axis::tp, 2, 0};
  EXPECT_NE(refusal(odd_section).find("parameter a: 3 rows do not divide"), std::string::npos);
}

TEST(ParamTable, WideParametersAreNeverRounded) {
  ParamTable table(DType::bf16);
  const Param& narrow = table.add({.name = "narrow", .shape = {3, 2}});
  const Param& wide = table.add({.name = "wide", .shape = {3, 2}, .wide = true});
  table.allocate(Device::plan);
  EXPECT_EQ(narrow.weight.dtype, DType::bf16);
  EXPECT_NE(narrow.master.data, narrow.weight.data);
  EXPECT_EQ(wide.weight.dtype, DType::f32);
  EXPECT_EQ(wide.master.data, wide.weight.data);
  for (const Param* param : {&narrow, &wide}) {
    EXPECT_EQ(param->master.dtype, DType::f32);
    EXPECT_EQ(param->grad.dtype, DType::f32);
  }
}

TEST(ParamTable, SectionsAreViewsOfTheWhole) {
  ParamTable table(DType::f64);
  const Param& param = table.add(fused());
  table.allocate(Device::cpu);
  for (std::int64_t i = 0; i < 18; ++i) set(param.weight, i, static_cast<double>(i));
  for (std::int64_t i = 0; i < 18; ++i) set(param.adam_m, i, static_cast<double>(100 + i));
  const std::vector<Part> parts = table.parts();
  ASSERT_EQ(parts.size(), 2u);
  EXPECT_EQ(parts[0].name, "a");
  EXPECT_EQ(parts[1].name, "b");
  EXPECT_EQ(parts[1].global_shape, (std::vector<std::int64_t>{2, 3}));
  EXPECT_EQ(values(parts[1].view(param.weight)), (std::vector<double>{12, 13, 14, 15, 16, 17}));
  EXPECT_EQ(values(parts[1].view(param.adam_m)),
            (std::vector<double>{112, 113, 114, 115, 116, 117}));
}

TEST(ParamTable, SectionsOfAMiddleDim) {
  ParamTable table(DType::f64);
  const Param& param = table.add({.name = "experts",
                                  .shape = {2, 3, 2},
                                  .sections = {{"gate", 1}, {"up", 2}},
                                  .section_dim = 1});
  table.allocate(Device::cpu);
  for (std::int64_t i = 0; i < 12; ++i) set(param.weight, i, static_cast<double>(i));
  const std::vector<Part> parts = table.parts();
  EXPECT_EQ(values(parts[0].view(param.weight)), (std::vector<double>{0, 1, 6, 7}));
  EXPECT_EQ(values(parts[1].view(param.weight)), (std::vector<double>{2, 3, 4, 5, 8, 9, 10, 11}));
}

TEST(ParamTable, ValuesDependOnThePartAlone) {
  ParamTable one(DType::f64), other(DType::f64);
  one.add({.name = "before", .shape = {5}});
  one.add(fused("a", "b"));
  other.add(fused("b", "a"));
  ParamTable apart(DType::f64);
  apart.add({.name = "b", .shape = {2, 3}});
  apart.add({.name = "a", .shape = {4, 3}});
  const auto want = parts_of(one, 11);
  const auto swapped = parts_of(other, 11), single = parts_of(apart, 11);
  for (const char* name : {"a", "b"}) {
    EXPECT_EQ(swapped.at(name), want.at(name));
    EXPECT_EQ(single.at(name), want.at(name));
  }
  EXPECT_NE(want.at("a")[0], want.at("b")[0]);
  ParamTable reseeded(DType::f64);
  reseeded.add(fused());
  EXPECT_NE(parts_of(reseeded, 12).at("a"), want.at("a"));
}

/// `whole` cut along `dim` of a [rows, columns] tensor, the index-th of two.
std::vector<double> half(const std::vector<double>& whole, std::int64_t rows, std::int64_t columns,
                         int dim, int index) {
  std::vector<double> out;
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < columns; ++c) {
      const bool second = dim == 0 ? r >= rows / 2 : c >= columns / 2;
      if (second == (index == 1)) out.push_back(whole[r * columns + c]);
    }
  }
  return out;
}

TEST(ParamTable, ShardsHoldTheirRowsOfTheSameValues) {
  for (const int dim : {0, 1}) {
    ParamSpec spec = fused();
    spec.shape = {6, 4};
    ParamTable whole(DType::f64);
    whole.add(spec);
    const auto want = parts_of(whole, 4);
    for (const int index : {0, 1}) {
      spec.shard = {dim, Axis::tp, 2, index};
      ParamTable shard(DType::f64);
      const Param& param = shard.add(spec);
      const auto got = parts_of(shard, 4);
      EXPECT_EQ(param.local_shape[dim], spec.shape[dim] / 2);
      EXPECT_EQ(got.at("a"), half(want.at("a"), 4, 4, dim, index));
      EXPECT_EQ(got.at("b"), half(want.at("b"), 2, 4, dim, index));
      EXPECT_EQ(shard.parts()[0].global_shape, (std::vector<std::int64_t>{4, 4}));
    }
  }
}

TEST(ParamTable, InitialValuesFollowTheSpec) {
  ParamTable table(DType::f32);
  table.add({.name = "ones", .shape = {3}, .init = Init::constant(1.0)});
  table.add({.name = "wide", .shape = {100, 100}, .init = Init::normal(0.5)});
  const auto parts = parts_of(table, 9);
  EXPECT_EQ(parts.at("ones"), (std::vector<double>{1, 1, 1}));
  double squares = 0;
  for (const double x : parts.at("wide")) squares += x * x / 1e4;
  EXPECT_NEAR(squares, 0.25, 5 * 0.25 * std::sqrt(2.0 / 1e4));
}

TEST(ParamTable, GradientsAreOneZeroedRun) {
  ParamTable table(DType::f32);
  const Param& a = table.add({.name = "a", .shape = {3}});
  const Param& state =
      table.add({.name = "bias", .shape = {5}, .init = Init::constant(2), .trainable = false});
  const Param& b = table.add({.name = "b", .shape = {2, 2}});
  table.allocate(Device::cpu);
  const Tensor flat = table.flat().grad;
  EXPECT_EQ(flat.data, a.grad.data);
  EXPECT_GE(static_cast<char*>(flat.data) + flat.bytes(),
            static_cast<char*>(b.grad.data) + b.grad.bytes());
  for (const double g : values(flat)) ASSERT_EQ(g, 0);
  for (const double m : values(b.adam_m)) EXPECT_EQ(m, 0);
  for (const double v : values(b.adam_v)) EXPECT_EQ(v, 0);
  EXPECT_FALSE(state.grad.defined());
  EXPECT_FALSE(state.adam_m.defined());
  EXPECT_TRUE(state.weight.defined());
  EXPECT_EQ(table.trainable_elements(), 7);
}

TEST(ParamTable, LiesSortedByGroupDecayAndWholeGradients) {
  ParamTable table(DType::f32);
  table.add({.name = "norm", .shape = {3}});
  table.add({.name = "embed", .shape = {200}, .decay = true});
  table.add({.name = "state", .shape = {5}, .trainable = false});
  table.add({.name = "matrix",
             .shape = {2, 70},
             .decay = true,
             .whole_grad = true,
             .group = OptimGroup::matrix});
  table.add({.name = "experts", .shape = {130}, .decay = true, .group = OptimGroup::matrix});
  table.allocate(Device::cpu);
  std::vector<std::string> names;
  for (const Param* param : table.in_memory_order()) names.push_back(param->spec.name);
  EXPECT_EQ(names, (std::vector<std::string>{"matrix", "experts", "embed", "norm"}));
  ASSERT_EQ(table.ranges().size(), 3u);
  EXPECT_EQ(table.ranges()[0].size, 2 * 256);
  EXPECT_EQ(table.ranges()[1].begin, 512);
  EXPECT_TRUE(table.ranges()[1].decay);
  EXPECT_FALSE(table.ranges()[2].decay);
  EXPECT_EQ(table.ranges()[2].begin + table.ranges()[2].size, table.flat().grad.numel());
  ASSERT_EQ(table.cleared_gradients().size(), 1u);
  EXPECT_EQ(table.cleared_gradients()[0].data, table.in_memory_order()[1]->grad.data);
  EXPECT_EQ(table.cleared_gradients()[0].numel(), 256 + 256 + 128);
}

TEST(ParamTable, MatricesMayKeepOneState) {
  for (const bool both : {true, false}) {
    ParamTable table(
        {.weight = DType::f64, .grad = DType::f64, .state = DType::f64, .matrix_adam_v = both});
    const Param& norm = table.add({.name = "norm", .shape = {3}});
    const Param& matrix =
        table.add({.name = "matrix", .shape = {2, 70}, .group = OptimGroup::matrix});
    table.allocate(Device::cpu);
    EXPECT_EQ(table.optimizer().peak(), (both ? 2 * 256 + 2 * 128 : 256 + 2 * 128) * 8u);
    EXPECT_EQ(matrix.adam_v.defined(), both);
    for (std::int64_t i = 0; i < 3; ++i) set(norm.adam_v, i, 7);
    const ParamRange& vectors = table.ranges()[1];
    const Tensor v = table.of(vectors).adam_v;
    EXPECT_EQ(values(v.slice(0, 0, 3)), (std::vector<double>{7, 7, 7}));
    EXPECT_EQ(v.numel(), 128);
    EXPECT_EQ(table.of(table.ranges()[0]).adam_v.defined(), both);
  }
}

TEST(ParamTable, WholeGradientsAreAssignedOnceAStep) {
  ParamTable table(DType::f32);
  Param& whole = table.add({.name = "matrix", .shape = {2, 2}, .whole_grad = true});
  Param& part = table.add({.name = "norm", .shape = {2}});
  table.allocate(Device::cpu);
  EXPECT_TRUE(whole.adds_gradient()) << "gradients start cleared";
  for (int step = 0; step < 2; ++step) {
    table.begin_gradients();
    EXPECT_FALSE(whole.adds_gradient());
    EXPECT_TRUE(whole.adds_gradient());
    EXPECT_TRUE(part.adds_gradient());
  }
}

TEST(ParamTable, PlansWithoutMemory) {
  ParamTable table(DType::f32);
  table.add({.name = "huge", .shape = {1 << 20, 1 << 10}});  // 4 GiB each
  table.allocate(Device::plan);
  EXPECT_EQ(table.weights().peak(), std::size_t{1} << 32);
  EXPECT_EQ(table.gradients().peak(), std::size_t{1} << 32);
  EXPECT_EQ(table.optimizer().peak(), std::size_t{2} << 32);
  table.initialise(1, Stream{.device = Device::plan});
}

}  // namespace
}  // namespace strait::core
