#include "kernels/async.h"

#include <algorithm>

#include "kernels/clock.h"
#include "kernels/device_info.h"
#include "kernels/elementwise.h"
#include "kernels/graph.h"
#include "kernels/profile.h"
#include "tests/kernels/op_test.h"

// What there is around launches, on the CPU: nothing waits, everything happens at once.
namespace strait::kernels {
namespace {

using namespace test;

TEST(HostBuffer, StartsZeroedAndMovesItsMemory) {
  HostBuffer first(Device::cpu, 64);
  const auto* bytes = first.as<char>();
  EXPECT_TRUE(std::all_of(bytes, bytes + 64, [](char c) { return c == 0; }));
  HostBuffer second(std::move(first));
  EXPECT_EQ(second.as<char>(), bytes);
  EXPECT_EQ(second.bytes(), 64u);
}

TEST(Repeated, EnqueuesEveryTimeOffTheGpu) {
  Repeated launches;
  int runs = 0;
  for (int i = 0; i < 4; ++i) launches.run(Stream{}, [&] { ++runs; });
  EXPECT_EQ(runs, 4);
  EXPECT_FALSE(launches.captured());
}

TEST(OwnedStream, HasTheDeviceItWasMadeFor) {
  OwnedStream stream(Device::plan);
  EXPECT_EQ(stream.get().device, Device::plan);
  stream = OwnedStream(Device::cpu);
  EXPECT_EQ(stream.get().device, Device::cpu);
}

TEST(Lap, TotalsAreTheTimeSinceTheStart) {
  Buffers b;
  const Tensor last = b.poisoned(DType::i64, {1}), unused = b.poisoned(DType::i64, {1}),
               first = b.poisoned(DType::i64, {1}), second = b.poisoned(DType::i64, {1});
  for (const Tensor& t : {last, unused, first, second}) run(Fill{.x = t, .value = 0});
  run(Lap{.last = last, .total = unused});
  const auto start = *last.as<std::int64_t>();
  for (int i = 0; i < 3; ++i) {
    run(Lap{.last = last, .total = first});
    run(Lap{.last = last, .total = second});
  }
  const auto all = *first.as<std::int64_t>() + *second.as<std::int64_t>();
  EXPECT_EQ(all, *last.as<std::int64_t>() - start);
  EXPECT_GE(*first.as<std::int64_t>(), 0);
  EXPECT_GE(*second.as<std::int64_t>(), 0);
}

TEST(Lap, RejectsMalformed) {
  Buffers b;
  const Tensor last = b.zeros(DType::i64, {1});
  expect_rejected(Lap{.last = last, .total = last}, "total: [1] i64 overlaps last");
  expect_rejected(Lap{.last = last, .total = b.zeros(DType::f64, {1})},
                  "total: expected dtype i64");
}

TEST(Stopwatch, GivesOneTimeBetweenTwoMarks) {
  Stopwatch watch(Stream{});
  EXPECT_TRUE(watch.seconds().empty());
  for (int i = 0; i < 3; ++i) watch.mark();
  const auto seconds = watch.seconds();
  ASSERT_EQ(seconds.size(), 2u);
  EXPECT_GE(seconds[0], 0);
  EXPECT_GE(seconds[1], 0);
}

TEST(DeviceInfo, PeaksOfNamesThatDriversGive) {
  EXPECT_EQ(bf16_peak("NVIDIA H100 80GB HBM3"), 989.4e12);
  EXPECT_EQ(bf16_peak("NVIDIA H100 PCIe"), 756e12);
  EXPECT_EQ(bf16_peak("NVIDIA H200"), 989.4e12);
  EXPECT_EQ(bf16_peak("NVIDIA A100-SXM4-80GB"), 312e12);
  EXPECT_EQ(bf16_peak("Some other device"), 0);
  EXPECT_EQ(device_info(Device::cpu).bf16_flops_per_second, 0);
  EXPECT_FALSE(device_status(Device::cpu).known);
}

}  // namespace
}  // namespace strait::kernels
