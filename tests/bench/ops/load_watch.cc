#include "tests/bench/ops/load_watch.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <mutex>
#include <sstream>
#include <vector>

namespace strait::bench {

using kernels::DeviceStatus;

struct LoadWatch::Samples {
  std::mutex lock;
  std::vector<DeviceStatus> seen;
};

namespace {

constexpr double kLeastShare = 0.1;  // of the samples
constexpr double kLeastRate = 0.5;   // of the data sheet's

template <class Get>
auto median(const std::vector<DeviceStatus>& seen, Get&& get) {
  std::vector<decltype(get(seen[0]))> values;
  std::ranges::transform(seen, std::back_inserter(values), get);
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::ranges::nth_element(values, middle);
  return *middle;
}

}  // namespace

LoadWatch::LoadWatch()
    : samples_(std::make_unique<Samples>()),
      thread_([samples = samples_.get()](const std::stop_token& stop) {
        while (!stop.stop_requested()) {
          const DeviceStatus status = kernels::device_status(kernels::Device::cuda);
          if (status.known) {
            const std::lock_guard guard(samples->lock);
            samples->seen.push_back(status);
          }
          std::this_thread::sleep_for(std::chrono::milliseconds(50));
        }
      }) {}

LoadWatch::~LoadWatch() {
  thread_.request_stop();
  thread_.join();
}

LoadState LoadWatch::state() const {
  const std::lock_guard guard(samples_->lock);
  const std::vector<DeviceStatus>& seen = samples_->seen;
  LoadState state;
  if (seen.empty()) return state;
  state.samples = static_cast<int>(seen.size());
  state.clock_mhz = median(seen, [](const DeviceStatus& s) { return s.clock_mhz; });
  state.temperature_c = median(seen, [](const DeviceStatus& s) { return s.temperature_c; });
  state.power_w = median(seen, [](const DeviceStatus& s) { return s.power_w; });
  for (const DeviceStatus& status : seen) {
    std::istringstream reasons(status.throttle);
    for (std::string reason; std::getline(reasons >> std::ws, reason, ',');) {
      state.reasons[reason] += 1.0 / state.samples;
    }
  }
  return state;
}

std::string slowdown(const LoadState& state, double tflop_s, const kernels::DeviceInfo& device) {
  std::ostringstream text;
  const char* separator = "";
  for (const char* reason :
       {"hardware slowdown", "software thermal", "hardware thermal", "power brake"}) {
    const auto found = state.reasons.find(reason);
    if (found == state.reasons.end() || found->second < kLeastShare) continue;
    text << separator << reason << " in " << static_cast<int>(100 * found->second + 0.5) << " % of "
         << state.samples << " samples";
    separator = ", ";
  }
  const double peak = 1e-12 * device.bf16_flops_per_second;
  if (tflop_s > 0 && tflop_s < kLeastRate * peak) {
    text << separator << "8192^3 at " << static_cast<int>(tflop_s + 0.5) << " TFLOP/s of "
         << static_cast<int>(peak + 0.5);
  }
  if (text.str().empty()) return {};
  text << "; " << state.clock_mhz << " MHz, " << static_cast<int>(state.power_w + 0.5) << " W, "
       << state.temperature_c << " C";
  return text.str();
}

}  // namespace strait::bench
