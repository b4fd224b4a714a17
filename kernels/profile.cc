#include "kernels/profile.h"

#include <chrono>

#include "kernels/cuda/profile.h"

namespace strait::kernels {
namespace {

double now() {
  const auto since = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(since).count();
}

}  // namespace

Range::Range(const char* name) {
  cuda::push_range(name);
}

Range::~Range() {
  cuda::pop_range();
}

void open_profile_window(Device device) {
  if (device == Device::cuda) cuda::open_profile_window();
}

void close_profile_window(Device device) {
  if (device == Device::cuda) cuda::close_profile_window();
}

Stopwatch::~Stopwatch() {
  for (void* event : events_) cuda::release_mark(event);
}

void Stopwatch::mark() {
  if (stream_.device == Device::cuda) {
    events_.push_back(cuda::mark_time(stream_));
  } else {
    times_.push_back(now());
  }
}

std::vector<double> Stopwatch::seconds() const {
  std::vector<double> out;
  for (std::size_t i = 1; i < events_.size(); ++i) {
    out.push_back(cuda::seconds_between(events_[i - 1], events_[i]));
  }
  for (std::size_t i = 1; i < times_.size(); ++i) out.push_back(times_[i] - times_[i - 1]);
  return out;
}

}  // namespace strait::kernels
