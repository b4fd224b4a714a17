#include "kernels/optimizer.h"

#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "tests/kernels_cuda/device_test.h"

namespace strait::kernels {
namespace {

using namespace test;

class CudaOptimizer : public DeviceTest {};

std::vector<double> rates_at(std::int64_t t) {
  const auto rates = adam_rates(0.01, AdamW{}.beta1, AdamW{}.beta2, t);
  return {rates.begin(), rates.end()};
}

AdamW step(Side& s, std::int64_t n, bool master, bool wide_gradient, std::int64_t t) {
  AdamW op{.w = s.in_out("w", {n}, {.stat = master}),
           .g = s.input("g", {n}, {.stat = wide_gradient}),
           .m = s.in_out("m", {n}, {.stat = true, .scale = 0.1}),
           .v = s.in_out("v", {n}, {.stat = true, .scale = 0.01, .mean = 0.1}),
           .grad_scale = s.values("scale", {0.37}, {1}, {.f64 = true}),
           .rates = s.values("rates", rates_at(t), {4}, {.f64 = true}),
           .decay = 0.1};
  if (master) op.w_compute = s.output("w_compute", {n});
  return op;
}

TEST_F(CudaOptimizer, AdamW) {
  for (const DType storage : {DType::f32, DType::bf16}) {
    for (const std::int64_t n : {1, 3, 1024, 5001}) {
      for (const bool master : {false, true}) {
        for (const bool wide_gradient : {false, true}) {
          SCOPED_TRACE(n);
          compare_op(storage,
                     [&](Side& s) { return step(s, n, master, wide_gradient, 1 + n % 7); });
        }
      }
    }
  }
}

/// One step of states in bf16 on `device`; returns m and v.
std::vector<std::uint16_t> narrow_states(Device device, std::int64_t n) {
  const Stream stream{.device = device};
  const auto bytes = static_cast<std::size_t>(n) * 4;
  std::vector<void*> blocks;
  const auto make = [&](DType dtype, const void* host, std::size_t size) {
    blocks.push_back(allocate(device, size));
    copy_to_device(blocks.back(), host, size, stream);
    return Tensor(blocks.back(), dtype, {static_cast<std::int64_t>(size / size_of(dtype))});
  };
  std::vector<float> w(static_cast<std::size_t>(n)), g(w.size());
  std::vector<std::uint16_t> states(2 * w.size());
  for (std::size_t i = 0; i < w.size(); ++i) {
    w[i] = std::sin(static_cast<float>(i));
    g[i] = std::cos(3.0f * static_cast<float>(i));
    states[i] = static_cast<std::uint16_t>(0x3d00 + i % 97);             // about 0.03 to 0.06
    states[w.size() + i] = static_cast<std::uint16_t>(0x3c80 + i % 89);  // about 0.016 to 0.04
  }
  const double one = 1;
  const std::vector<double> rates = rates_at(3);
  const Tensor both = make(DType::bf16, states.data(), bytes);
  launch(AdamW{.w = make(DType::f32, w.data(), bytes),
               .g = make(DType::f32, g.data(), bytes),
               .m = both.slice(0, 0, n),
               .v = both.slice(0, n, n),
               .grad_scale = make(DType::f64, &one, sizeof one),
               .rates = make(DType::f64, rates.data(), 4 * sizeof(double)),
               .seed = 11,
               .first_index = 17},
         stream);
  copy_to_host(states.data(), both.data, bytes, stream);
  synchronise(stream);
  for (void* block : blocks) release(device, block);
  return states;
}

/// Both backends draw the same bits, so a state differs only where the floats before rounding do,
/// in their last place: of 10,006 states less than one is expected to.
TEST_F(CudaOptimizer, NarrowStatesRoundAsOnTheCpu) {
  const std::int64_t n = 5003;
  const auto cpu = narrow_states(Device::cpu, n), cuda = narrow_states(Device::cuda, n);
  int differ = 0;
  for (std::size_t i = 0; i < cpu.size(); ++i) {
    differ += cpu[i] != cuda[i];
    EXPECT_LE(std::abs(static_cast<int>(cpu[i]) - static_cast<int>(cuda[i])), 1) << i;
  }
  EXPECT_LE(differ, 3);
  EXPECT_EQ(cuda, narrow_states(Device::cuda, n));
}

/// As on the CPU (kernels/optimizer_test.cc), and a step that is stopped moves nothing.
TEST_F(CudaOptimizer, StepGuard) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const std::array<double, 4> cases[] = {{3, 2, kInfinity, kInfinity},
                                         {3, 2, 3, 2},
                                         {3, 2, 2.9, 2},
                                         {3, 2, 3, 1.9},
                                         {nan, 2, 9, 9},
                                         {3, nan, kInfinity, kInfinity},
                                         {kInfinity, 2, kInfinity, 9},
                                         {3, kInfinity, 9, 9},
                                         {3, -kInfinity, 9, 9}};
  for (const auto& [loss, norm, most_loss, most_norm] : cases) {
    SCOPED_TRACE(std::to_string(loss) + " " + std::to_string(norm));
    const auto guard = [&](Side& s) {
      return StepGuard{
          .loss = s.values("loss", {loss}, {1}, {.f64 = true}),
          .norm = s.values("norm", {norm}, {1}, {.f64 = true}),
          .limits = s.values("limits", {most_loss, most_norm}, {2}, {.f64 = true}),
          .rates = s.values("rates", rates_at(5), {4}, {.f64 = true, .written = true})};
    };
    compare_op(DType::f32, guard, {.exact = true});
    Side device(Side::Kind::device, DType::f32);
    const bool moves =
        std::isfinite(loss) && std::isfinite(norm) && loss <= most_loss && norm <= most_norm;
    const auto results = evaluate(device, guard);
    EXPECT_EQ(get(results.back().view, 3), moves ? 5 : 0);
  }
}

TEST_F(CudaOptimizer, AStepOfNumberZeroMovesNothing) {
  const std::int64_t n = 1000;
  Side device(Side::Kind::device, DType::bf16), before(Side::Kind::device, DType::bf16);
  const auto moved = evaluate(device, [&](Side& s) { return step(s, n, true, true, 0); });
  step(before, n, true, true, 0);
  const auto kept = before.collect();
  for (std::size_t i = 0; i < kept.size(); ++i) {
    const std::string& name = kept[i].name;
    if (name == "w" || name == "m" || name == "v") {
      EXPECT_TRUE(bit_equal(moved[i].view, kept[i].view)) << name;
    }
  }
}

TEST_F(CudaOptimizer, SumSquares) {
  for (const DType storage : {DType::f32, DType::bf16}) {
    for (const std::int64_t n : {1, 77, 4096, 300001}) {
      SCOPED_TRACE(n);
      for (const Make& rows : {Make{}, kOddRows}) {
        compare_op(storage, [&](Side& s) {
          return SumSquares{.x = s.input("x", {n}, rows),
                            .out = s.values("out", {0.75}, {1}, {.f64 = true, .written = true})};
        });
      }
    }
  }
}

TEST_F(CudaOptimizer, ClipScale) {
  for (const double max_norm : {0.0, 1.0, 50.0}) {
    compare_op(DType::f32, [&](Side& s) {
      return ClipScale{.sum_squares = s.values("sum", {317.5}, {1}, {.f64 = true}),
                       .norm = s.output("norm", {1}, {.f64 = true}),
                       .scale = s.output("scale", {1}, {.f64 = true}),
                       .max_norm = max_norm};
    });
  }
}

}  // namespace
}  // namespace strait::kernels
