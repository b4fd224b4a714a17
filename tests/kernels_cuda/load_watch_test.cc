#include "tests/bench/ops/load_watch.h"

#include <gtest/gtest.h>

namespace strait::bench {
namespace {

kernels::DeviceInfo h100() {
  kernels::DeviceInfo device;
  device.bf16_flops_per_second = 989.4e12;
  return device;
}

LoadState state(std::map<std::string, double> reasons) {
  return {.samples = 40,
          .clock_mhz = 1455,
          .temperature_c = 71,
          .power_w = 699.6,
          .reasons = std::move(reasons)};
}

TEST(LoadWatch, PowerLimitIsNoSlowdown) {
  EXPECT_EQ(slowdown(state({{"power cap", 1.0}, {"software thermal", 0.05}}), 680, h100()), "");
  EXPECT_EQ(slowdown(state({}), 0, h100()), "");
}

TEST(LoadWatch, TellsHeatAndItsShare) {
  EXPECT_EQ(slowdown(state({{"power cap", 1.0}, {"software thermal", 0.9}}), 0, h100()),
            "software thermal in 90 % of 40 samples; 1455 MHz, 700 W, 71 C");
}

TEST(LoadWatch, TellsALowRateWhateverTheReason) {
  EXPECT_EQ(slowdown(state({}), 183.2, h100()),
            "8192^3 at 183 TFLOP/s of 989; 1455 MHz, 700 W, 71 C");
  EXPECT_EQ(slowdown(state({}), 183.2, {}), "");  // a device whose peak is not known
}

TEST(LoadWatch, SamplesUntilItEnds) {
  const LoadWatch watch;
  EXPECT_GE(watch.state().samples, 0);
}

}  // namespace
}  // namespace strait::bench
