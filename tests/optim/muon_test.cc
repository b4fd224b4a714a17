#include "optim/muon.h"

#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <sstream>

#include "core/error.h"
#include "kernels/optimizer.h"
#include "optim/update.h"
#include "tests/support/message_of.h"
#include "tests/support/tensors.h"

namespace strait::optim {
namespace {

using test::get;
using test::set;
using test::values;

/// Numbers by name from muon_reference/steps.txt, see make.py beside it.
std::map<std::string, std::vector<double>> read_reference() {
  std::ifstream file(STRAIT_SOURCE_DIR "/tests/optim/muon_reference/steps.txt");
  std::map<std::string, std::vector<double>> all;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string name;
    words >> name;
    for (double x; words >> x;) all[name].push_back(x);
  }
  return all;
}

/// The parameters of make.py.
void add_params(core::ParamTable& table) {
  using core::OptimGroup;
  table.add({.name = "norm", .shape = {4}});
  table.add({.name = "qkv",
             .shape = {6, 5},
             .sections = {{"q", 4}, {"k", 2}},
             .decay = true,
             .whole_grad = true,
             .group = OptimGroup::matrix});
  table.add({.name = "experts",
             .shape = {2, 6, 4},
             .sections = {{"gate", 3}, {"up", 3}},
             .section_dim = 1,
             .decay = true,
             .group = OptimGroup::matrix});
  table.add({.name = "down", .shape = {2, 5, 3}, .group = OptimGroup::matrix});
  table.add({.name = "out", .shape = {7, 3}, .decay = true, .group = OptimGroup::matrix});
}

config::Optim optim_of(config::NewtonSchulz coefficients, config::MuonScale scale, double momentum,
                       bool nesterov) {
  config::Optim optim;
  optim.kind = config::OptimKind::muon;
  optim.weight_decay = 0.3;
  optim.muon = {
      .momentum = momentum, .nesterov = nesterov, .coefficients = coefficients, .scale = scale};
  return optim;
}

config::Optim original() {
  return optim_of(config::NewtonSchulz::original, config::MuonScale::adamw_rms, 0.95, true);
}

/// A table of make.py's parameters at their start, and what moves it.
class ToyRun {
 public:
  explicit ToyRun(const config::Optim& optim) : optim_(optim) {
    add_params(table_);
    table_.allocate(Device::plan);
    const Tensor fake(&table_, DType::f64, {4});
    {
      parallel::Ctx planned = ctx_;
      planned.stream.device = Device::plan;
      Update(table_, optim_).step(planned, 1, fake, fake.slice(0, 0, 1));
    }
    table_.allocate(Device::cpu);
    scratch_.allocate(Device::cpu);
    fill("start", &core::Param::master);
    set(clip_, 0, 0.5);
  }

  core::ParamTable& table() { return table_; }

  void fill(const std::string& prefix, Tensor core::Param::*tensor) {
    static const auto reference = read_reference();
    for (core::Param& param : table_.params()) {
      const std::vector<double>& from = reference.at(prefix + "." + param.spec.name);
      ASSERT_EQ(static_cast<std::int64_t>(from.size()), (param.*tensor).numel());
      for (std::size_t i = 0; i < from.size(); ++i) {
        set(param.*tensor, static_cast<std::int64_t>(i), from[i]);
      }
    }
  }

  /// Step t with the gradients of make.py.
  template <class Optimizer>
  void step(Optimizer&& optimizer, std::int64_t t) {
    fill("gradient." + std::to_string(t), &core::Param::grad);
    const auto rates = kernels::adam_rates(0.02, optim_.beta1, optim_.beta2, t);
    for (std::int64_t i = 0; i < 4; ++i) set(rates_, i, rates[static_cast<std::size_t>(i)]);
    optimizer(ctx_, rates_, clip_);
  }

 private:
  config::Optim optim_;
  core::ParamTable table_{
      {.weight = DType::f64, .grad = DType::f64, .state = DType::f64, .matrix_adam_v = false}};
  parallel::Groups groups_;
  core::Arena saved_{"saved"}, scratch_{"scratch"}, state_{"state"};
  parallel::Ctx ctx_{
      .stream = Stream{}, .groups = groups_, .saved = saved_, .scratch = scratch_, .state = state_};
  test::Buffers buffers_;
  Tensor rates_ = buffers_.zeros(DType::f64, {4}), clip_ = buffers_.zeros(DType::f64, {1});
};

// In double a step rounds to 2^-53 of the norm, and the steps of Newton-Schulz stretch that at most
// by the product of their a, 1e3: 1e-12 leaves ten of them.
constexpr double kRounding = 1e-12;

TEST(Muon, FollowsTheNumpyReferenceStepByStep) {
  const auto reference = read_reference();
  using config::MuonScale;
  using config::NewtonSchulz;
  const std::pair<std::string, config::Optim> cases[] = {
      {"original", original()},
      {"five_step", optim_of(NewtonSchulz::five_step, MuonScale::aspect, 0.9, false)},
      {"polar_express", optim_of(NewtonSchulz::polar_express, MuonScale::unit_rms, 0, true)}};
  for (const auto& [label, optim] : cases) {
    ToyRun run(optim);
    Update update(run.table(), optim);
    for (std::int64_t t = 1; t <= 3; ++t) {
      run.step(
          [&](parallel::Ctx& ctx, Tensor rates, Tensor clip) { update.step(ctx, 1, rates, clip); },
          t);
      for (const core::Param& param : run.table().params()) {
        const std::string name = label + "." + std::to_string(t) + "." + param.spec.name;
        EXPECT_LE(test::relative_l2(values(param.master), reference.at(name)), kRounding) << name;
      }
    }
    for (const core::Param& param : run.table().params()) {
      if (param.spec.group != core::OptimGroup::matrix) continue;
      const std::string name = label + ".momentum." + param.spec.name;
      EXPECT_LE(test::relative_l2(values(param.adam_m), reference.at(name)), 1e-15) << name;
      EXPECT_FALSE(param.adam_v.defined());
    }
  }
}

TEST(Muon, BatchesOfAnySizeTakeTheSameStep) {
  const config::Optim optim = original();
  ToyRun together(optim), apart(optim);
  const auto take = [&](ToyRun& run, std::int64_t batch_elements) {
    const Muon muon(run.table(), optim, batch_elements);
    for (std::int64_t t = 1; t <= 3; ++t) {
      run.step(
          [&](parallel::Ctx& ctx, Tensor rates, Tensor clip) {
            muon.step(ctx.scratch, ctx.groups.axis(core::Axis::tp), 1, rates, clip, ctx.stream);
          },
          t);
    }
  };
  take(together, Muon::kBatchElements);
  take(apart, 25);  // two of gate and up at a time, all others alone
  for (std::size_t i = 0; i < together.table().params().size(); ++i) {
    const core::Param& a = together.table().params()[i];
    const core::Param& b = apart.table().params()[i];
    EXPECT_LE(test::relative_l2(a.master, b.master), kRounding) << a.spec.name;
    EXPECT_TRUE(test::bit_equal(a.adam_m, b.adam_m)) << a.spec.name;
  }
}

/// Launches of a planned step, by op.
class Recorder : public kernels::LaunchObserver {
 public:
  void on_launch(const char* op, const kernels::Work&) override { ++launches[op]; }
  std::map<std::string, int> launches;
};

TEST(Muon, LargeBatchesAreCutAndLargeMatricesMultipliedAlone) {
  core::ParamTable table({.weight = DType::bf16, .matrix_adam_v = false});
  table.add({.name = "experts", .shape = {160, 512, 2048}, .group = core::OptimGroup::matrix});
  table.add({.name = "wide", .shape = {12, 2048, 4096}, .group = core::OptimGroup::matrix});
  table.allocate(Device::plan);
  Recorder recorder;
  core::Arena scratch("scratch");
  const Stream stream{.device = Device::plan, .observer = &recorder};
  const Tensor fake(&table, DType::f64, {4});
  const auto alone = parallel::make_single();
  Muon(table, original()).step(scratch, *alone, 1, fake, fake.slice(0, 0, 1), stream);
  EXPECT_EQ(recorder.launches["FrobeniusScale"], 3 + 2);
  EXPECT_EQ(recorder.launches["SymmetricProduct"], (3 + 2) * 5 * 2);
  EXPECT_EQ(recorder.launches["GroupedGemm"], 3 * 5);
  EXPECT_EQ(recorder.launches["Gemm"], 12 * 5);
  EXPECT_EQ(recorder.launches["MuonUpdate"], 3 + 2);
  EXPECT_LE(scratch.peak(), 4 * 2 * static_cast<std::size_t>(Muon::kBatchElements));
}

/// The error of making Muon for one parameter.
std::string refusal(core::ParamSpec spec) {
  spec.group = core::OptimGroup::matrix;
  core::ParamTable table(DType::f32);
  table.add(std::move(spec));
  table.allocate(Device::plan);
  return test::message_of<core::InputError>([&] { const Muon muon(table, original()); });
}

TEST(Muon, RefusesWhatItCannotGather) {
  EXPECT_NE(refusal({.name = "flat", .shape = {4}}).find("parameter flat: Muon moves matrices"),
            std::string::npos);
  const core::Shard half{.dim = 0, .axis = core::Axis::ep, .parts = 2};
  EXPECT_NE(refusal({.name = "cut", .shape = {4, 3}, .shard = half}).find("cut over 2 ranks"),
            std::string::npos);
  const core::Shard by_tensor{.dim = 1, .axis = core::Axis::tp, .parts = 2};
  EXPECT_EQ(refusal({.name = "shards", .shape = {3, 4}, .shard = by_tensor}), "");
  const core::Shard experts{.dim = 0, .axis = core::Axis::ep, .parts = 2};
  EXPECT_EQ(refusal({.name = "experts", .shape = {4, 3, 2}, .shard = experts}), "");
}

TEST(Muon, ScalesByShape) {
  using config::MuonScale;
  EXPECT_DOUBLE_EQ(muon_scale(MuonScale::adamw_rms, 9, 25), 1);
  EXPECT_DOUBLE_EQ(muon_scale(MuonScale::adamw_rms, 25, 9), 1);
  EXPECT_DOUBLE_EQ(muon_scale(MuonScale::aspect, 8, 2), 2);
  EXPECT_DOUBLE_EQ(muon_scale(MuonScale::aspect, 2, 8), 1);
  EXPECT_DOUBLE_EQ(muon_scale(MuonScale::unit_rms, 8, 2), 2);
  EXPECT_DOUBLE_EQ(muon_scale(MuonScale::unit_rms, 2, 8), 0.5);
}

}  // namespace
}  // namespace strait::optim
