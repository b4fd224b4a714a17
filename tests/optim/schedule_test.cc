#include "optim/schedule.h"

#include <gtest/gtest.h>

namespace strait::optim {
namespace {

using config::ScheduleKind;

constexpr double kPeak = 0.5;

config::Optim with(ScheduleKind kind, std::int64_t warmup = 0) {
  config::Optim optim;
  optim.lr = kPeak;
  optim.schedule = kind;
  optim.warmup_steps = warmup;
  optim.min_lr_ratio = 0.1;
  optim.decay_fraction = 0.2;
  return optim;
}

constexpr ScheduleKind kKinds[] = {ScheduleKind::constant, ScheduleKind::cosine,
                                   ScheduleKind::linear, ScheduleKind::wsd};

TEST(Schedule, WarmsUpLinearlyToThePeak) {
  for (const ScheduleKind kind : kKinds) {
    const config::Optim optim = with(kind, 10);
    EXPECT_DOUBLE_EQ(learning_rate(optim, 100, 0), kPeak / 10);
    EXPECT_DOUBLE_EQ(learning_rate(optim, 100, 4), kPeak / 2);
    EXPECT_DOUBLE_EQ(learning_rate(optim, 100, 9), kPeak);
    EXPECT_DOUBLE_EQ(learning_rate(optim, 100, 10), kPeak);
  }
}

TEST(Schedule, WithoutWarmUpStartsAtThePeak) {
  for (const ScheduleKind kind : kKinds) {
    EXPECT_DOUBLE_EQ(learning_rate(with(kind), 100, 0), kPeak);
  }
}

TEST(Schedule, EndsAtTheFloor) {
  for (const ScheduleKind kind : kKinds) {
    const double floor = kind == ScheduleKind::constant ? kPeak : kPeak / 10;
    EXPECT_DOUBLE_EQ(learning_rate(with(kind, 10), 100, 99), floor);
    EXPECT_DOUBLE_EQ(learning_rate(with(kind, 10), 100, 150), floor) << "past the end";
  }
}

TEST(Schedule, IsHalfwayInTheMiddle) {
  const double middle = (kPeak + kPeak / 10) / 2;
  EXPECT_DOUBLE_EQ(learning_rate(with(ScheduleKind::cosine, 10), 111, 60), middle);
  EXPECT_DOUBLE_EQ(learning_rate(with(ScheduleKind::linear, 10), 111, 60), middle);
  EXPECT_GT(learning_rate(with(ScheduleKind::cosine, 10), 111, 30),
            learning_rate(with(ScheduleKind::linear, 10), 111, 30));
}

TEST(Schedule, WsdStaysThenDecaysInTheLastFraction) {
  const config::Optim optim = with(ScheduleKind::wsd, 10);
  EXPECT_DOUBLE_EQ(learning_rate(optim, 100, 79), kPeak);
  EXPECT_LT(learning_rate(optim, 100, 80), kPeak);
  EXPECT_DOUBLE_EQ(learning_rate(optim, 100, 89), (kPeak + kPeak / 10) / 2);
}

TEST(Schedule, WsdCorners) {
  config::Optim optim = with(ScheduleKind::wsd, 10);
  optim.decay_fraction = 0;
  EXPECT_DOUBLE_EQ(learning_rate(optim, 100, 99), kPeak);
  optim.decay_fraction = 1;  // the warm-up leaves 89 steps for it
  EXPECT_DOUBLE_EQ(learning_rate(optim, 100, 10), kPeak);
  EXPECT_LT(learning_rate(optim, 100, 11), kPeak);
  EXPECT_DOUBLE_EQ(learning_rate(optim, 100, 99), kPeak / 10);
}

TEST(Schedule, NeverRisesAfterTheWarmUp) {
  for (const ScheduleKind kind : kKinds) {
    const config::Optim optim = with(kind, 7);
    for (std::int64_t step = 8; step < 60; ++step) {
      EXPECT_LE(learning_rate(optim, 50, step), learning_rate(optim, 50, step - 1)) << step;
    }
  }
}

TEST(Schedule, RunsOfOneStep) {
  for (const ScheduleKind kind : kKinds) {
    EXPECT_DOUBLE_EQ(learning_rate(with(kind), 1, 0), kPeak);
    EXPECT_DOUBLE_EQ(learning_rate(with(kind, 1), 1, 0), kPeak);
    EXPECT_DOUBLE_EQ(learning_rate(with(kind, 4), 1, 0), kPeak / 4) << "a run inside its warm-up";
  }
}

}  // namespace
}  // namespace strait::optim
