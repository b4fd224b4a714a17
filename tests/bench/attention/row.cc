#include "tests/bench/attention/row.h"

#include <algorithm>
#include <cmath>

#include "tests/bench/ops/device.h"

namespace strait::bench {

Pool& empty_pool(const kernels::Stream& stream) {
  constexpr std::size_t kBytes = std::size_t{6} << 30;
  static Pool& pool = *new Pool(kBytes, stream);
  pool.clear();
  return pool;
}

double median_ms(const Row& row, const kernels::Stream& stream, const std::function<void()>& call) {
  constexpr double kMostCalls = 64;
  const auto launch = [&](int) { call(); };
  const double first = 1e-3 * median_us(launch, 1, 1, stream);
  const double calls = std::clamp(std::round(row.round_ms / first), 1.0, kMostCalls);
  median_us(launch, static_cast<int>(calls), row.rounds, stream);  // until the clock has settled
  return 1e-3 * median_us(launch, static_cast<int>(calls), row.rounds, stream);
}

}  // namespace strait::bench
