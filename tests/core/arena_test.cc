#include "core/arena.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <string>

#include "core/error.h"
#include "tests/support/message_of.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

namespace strait::core {
namespace {

std::uintptr_t address(const Tensor& tensor) {
  return reinterpret_cast<std::uintptr_t>(tensor.data);
}

TEST(Arena, PlansTheHighestMarkAndAllocatesThat) {
  Arena arena("activations");
  EXPECT_TRUE(arena.planning());
  arena.take(DType::f32, {64});  // 256 bytes
  {
    const Frame frame(arena);
    arena.take(DType::f64, {3, 5});  // 120 bytes, rounded to 256
    arena.take(DType::i32, {65});    // 260 bytes, rounded to 512
    EXPECT_EQ(arena.mark(), 1024u);
  }
  EXPECT_EQ(arena.mark(), 256u);
  arena.take(DType::f32, {1});
  EXPECT_EQ(arena.mark(), 512u);
  EXPECT_EQ(arena.peak(), 1024u);
  arena.allocate(Device::cpu);
  EXPECT_FALSE(arena.planning());
  EXPECT_EQ(arena.mark(), 0u);
  EXPECT_EQ(arena.peak(), 1024u);
}

TEST(Arena, TensorsAreAlignedApartAndWritable) {
  Arena arena("scratch");
  const auto take = [&] {
    return std::pair{arena.take(DType::f64, {7}), arena.take(DType::f32, {2, 3})};
  };
  take();
  arena.allocate(Device::cpu);
  const auto [a, b] = take();
  for (const Tensor& tensor : {a, b}) EXPECT_EQ(address(tensor) % 256, 0u);
  EXPECT_GE(address(b), address(a) + a.bytes());
  for (int i = 0; i < 7; ++i) a.as<double>()[i] = i;
  for (int i = 0; i < 6; ++i) b.as<float>()[i] = -1;
  EXPECT_EQ(a.as<double>()[6], 6.0);
  EXPECT_EQ(b.shape_string(), "[2, 3] f32");
  EXPECT_TRUE(b.contiguous());
}

TEST(Arena, TheSameCallsGiveTheSameAddresses) {
  Arena arena("scratch");
  arena.take(DType::f32, {100});
  arena.take(DType::f32, {100});
  arena.allocate(Device::cpu);
  std::uintptr_t first = 0;
  for (int step = 0; step < 3; ++step) {
    const Frame frame(arena);
    arena.take(DType::f32, {100});
    const std::uintptr_t here = address(arena.take(DType::f32, {100}));
    if (step == 0) first = here;
    EXPECT_EQ(here, first);
  }
}

TEST(Arena, PlannedTensorsHaveDistinctAddresses) {
  Arena one("one"), two("two");
  const Tensor a = one.take(DType::f32, {1000}), b = one.take(DType::f32, {1000});
  const Tensor c = two.take(DType::f32, {1000});
  EXPECT_GE(address(b), address(a) + a.bytes());
  EXPECT_NE(address(a), address(c));
}

TEST(Arena, TakingMoreThanPlannedNamesTheArena) {
  Arena arena("step state");
  arena.take(DType::f32, {64});
  arena.allocate(Device::cpu);
  arena.take(DType::f32, {64});
  const std::string error = test::message_of<RuntimeFault>([&] { arena.take(DType::f32, {1}); });
  EXPECT_NE(error.find("step state"), std::string::npos) << error;
  EXPECT_NE(error.find("512"), std::string::npos) << error;
  EXPECT_NE(error.find("256"), std::string::npos) << error;
  EXPECT_EQ(arena.mark(), 256u) << "a refused tensor must not move the stack";
}

TEST(Arena, RefusesPlansBeyondAnyMachine) {
  Arena arena("activations");
  const std::string error =
      test::message_of<InputError>([&] { arena.take(DType::f64, {std::int64_t{1} << 40}); });
  EXPECT_NE(error.find("activations needs more than 4 TiB"), std::string::npos) << error;
}

TEST(Arena, EmptyTensorsAndEmptyArenas) {
  Arena arena("none");
  arena.allocate(Device::cpu);
  EXPECT_EQ(arena.peak(), 0u);
  Arena empty("empty tensor");
  EXPECT_TRUE(empty.take(DType::f32, {0, 4}).defined());
  EXPECT_EQ(empty.peak(), 256u);
}

TEST(Arena, AllocatingOnThePlanDeviceKeepsPlanning) {
  Arena arena("plan");
  arena.take(DType::f32, {64});
  arena.allocate(Device::plan);
  EXPECT_TRUE(arena.planning());
  EXPECT_EQ(arena.mark(), 0u);
  arena.take(DType::f32, {128});
  EXPECT_EQ(arena.peak(), 512u);
}

#ifdef __SANITIZE_ADDRESS__
TEST(Arena, WhatNobodyHasTakenIsPoisoned) {
  Arena arena("scratch");
  const auto take = [&] { return arena.take(DType::f32, {3}); };
  take(), take();
  arena.allocate(Device::cpu);
  const Tensor a = take();
  const float* next = a.as<float>() + 3;
  EXPECT_FALSE(__asan_region_is_poisoned(a.data, a.bytes()));
  EXPECT_TRUE(__asan_address_is_poisoned(next));
  const std::size_t mark = arena.mark();
  const Tensor b = take();
  b.as<float>()[0] = 1;
  arena.release(mark);
  EXPECT_TRUE(__asan_address_is_poisoned(b.data));
  EXPECT_FALSE(__asan_region_is_poisoned(a.data, a.bytes()));
  EXPECT_TRUE(std::isnan(take().as<float>()[0]));
  EXPECT_FALSE(__asan_region_is_poisoned(arena.block().data, arena.peak()));
}
#endif

}  // namespace
}  // namespace strait::core
