#include "parallel/traffic.h"

namespace strait::parallel {

void Traffic::enter(const char* what, std::int64_t bytes) {
  const std::lock_guard lock(mutex_);
  Count& count = counts_[what];
  ++count.calls;
  count.bytes += bytes;
  last_ = {what, last_.call + 1, last_.step, true, std::chrono::steady_clock::now()};
}

void Traffic::at_step(std::int64_t step) {
  const std::lock_guard lock(mutex_);
  last_.step = step;
}

void Traffic::leave() {
  const std::lock_guard lock(mutex_);
  last_.waiting = false;
  last_.since = std::chrono::steady_clock::now();
}

std::map<std::string, Traffic::Count> Traffic::counts() const {
  const std::lock_guard lock(mutex_);
  return counts_;
}

Traffic::Call Traffic::last() const {
  const std::lock_guard lock(mutex_);
  return last_;
}

void Traffic::reset() {
  const std::lock_guard lock(mutex_);
  counts_.clear();
}

}  // namespace strait::parallel
