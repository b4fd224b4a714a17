#include "kernels/clock.h"

#include <chrono>

#include "kernels/cpu/run.h"

namespace strait::kernels::cpu {

void run(const Lap& op) {
  const auto since = std::chrono::steady_clock::now().time_since_epoch();
  const auto now = std::chrono::duration_cast<std::chrono::nanoseconds>(since).count();
  auto* last = op.last.as<std::int64_t>();
  op.total.as<std::int64_t>()[0] += now - last[0];
  last[0] = now;
}

}  // namespace strait::kernels::cpu
