#pragma once

#include <map>
#include <memory>
#include <string>
#include <thread>

#include "kernels/device_info.h"

namespace strait::bench {

/// How the device was over a stretch of work; medians over the samples.
struct LoadState {
  int samples = 0;
  int clock_mhz = 0, temperature_c = 0;
  double power_w = 0;
  std::map<std::string, double> reasons;  // for low clocks: share of the samples with it
};

/// Samples the device's state in a thread of its own from construction on.
class LoadWatch {
 public:
  LoadWatch();
  ~LoadWatch();

  /// What was seen so far.
  LoadState state() const;

 private:
  struct Samples;
  std::unique_ptr<Samples> samples_;
  std::jthread thread_;
};

/// Why timings under such a load are not those of the device: heat or its power supply held it back
/// in a tenth of the samples, or 8192^3 ran at less than half of the data sheet's rate (`tflop_s`,
/// 0: not measured). "" otherwise; the power limit is no reason, any device under load stands
/// there.
std::string slowdown(const LoadState& state, double tflop_s, const kernels::DeviceInfo& device);

}  // namespace strait::bench
