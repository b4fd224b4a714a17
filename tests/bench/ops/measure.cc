#include "tests/bench/ops/measure.h"

#include <algorithm>
#include <cmath>

#include "kernels/elementwise.h"
#include "kernels/gemm.h"
#include "kernels/memory.h"
#include "tests/bench/ops/device.h"

namespace strait::bench {
namespace {

constexpr int kRounds = 11;
constexpr double kRoundUs = 8000;
constexpr std::size_t kMostSets = 32;
constexpr double kMostCalls = 512;

class Recorder : public kernels::LaunchObserver {
 public:
  void on_launch(const char*, const kernels::Work& work) override { last = work; }
  kernels::Work last;
};

/// Microseconds of a call, calls dealt to the sets in turn.
double time_calls(const std::vector<Launch>& sets, const Stream& stream) {
  const auto call = [&](int i) { sets[static_cast<std::size_t>(i) % sets.size()](stream); };
  const auto count = static_cast<double>(sets.size());
  const double first = median_us(call, static_cast<int>(count), 1, stream);
  const double turns = std::clamp(std::ceil(kRoundUs / first / count), 1.0, kMostCalls / count);
  return median_us(call, static_cast<int>(std::ceil(turns) * count), kRounds, stream);
}

}  // namespace

Result measure(const Case& item, Pool& pool, const Stream& stream, std::size_t l2_bytes) {
  pool.clear();
  std::vector<Launch> sets = {item.make(pool)};
  const std::size_t wanted =
      std::min(8 * l2_bytes / std::max<std::size_t>(pool.used(), 1) + 1, kMostSets);
  while (sets.size() < wanted) sets.push_back(item.make(pool));
  Recorder recorder;
  Stream observed = stream;
  observed.observer = &recorder;
  for (const Launch& launch : sets) launch(observed);
  kernels::synchronise(stream);
  return {.name = item.name,
          .shape = item.shape,
          .product = item.product,
          .us = time_calls(sets, stream),
          .flops = recorder.last.flops,
          .bytes = item.bytes > 0 ? item.bytes : recorder.last.bytes};
}

double copy_ceiling(Pool& pool, const Stream& stream) {
  constexpr std::int64_t kBytes = std::int64_t{1} << 30;
  pool.clear();
  const Tensor from = pool.normal(DType::f32, {kBytes / 4}),
               to = pool.raw(DType::f32, {kBytes / 4});
  const Launch engine = [&](const Stream& s) {
    kernels::copy_on_device(to.data, from.data, kBytes, s);
  };
  const Launch kernel = [&](const Stream& s) {
    kernels::launch(kernels::Copy{.x = from, .y = to}, s);
  };
  const double us = std::min(time_calls({engine}, stream), time_calls({kernel}, stream));
  return 2.0 * kBytes / us * 1e-3;
}

Case large_product() {
  constexpr std::int64_t kSide = 8192;
  Case product = op_case("Gemm 8192^3", "8192 x 8192 x 8192", [](Pool& pool) {
    const auto square = [&] { return pool.normal(DType::bf16, {kSide, kSide}); };
    return kernels::Gemm{.a = square(), .b = square(), .c = square(), .trans_b = true};
  });
  product.product = true;
  return product;
}

void heat_up(Pool& pool, const Stream& stream) {
  constexpr int kTimes = 15;  // about two seconds on an H100
  for (int i = 0; i < kTimes; ++i) measure(large_product(), pool, stream, 0);
}

}  // namespace strait::bench
