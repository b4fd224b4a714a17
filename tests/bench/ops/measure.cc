#include "tests/bench/ops/measure.h"

#include <algorithm>
#include <cmath>

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

void Ceilings::raise(const Ceilings& other) {
  copy_gb_s = std::max(copy_gb_s, other.copy_gb_s);
  gemm_tflop_s = std::max(gemm_tflop_s, other.gemm_tflop_s);
}

double Ceilings::fraction(const Result& result) const {
  return result.product ? result.tflop_s() / gemm_tflop_s : result.gb_s() / copy_gb_s;
}

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

Ceilings measure_ceilings(Pool& pool, const Stream& stream) {
  constexpr std::int64_t kSide = 8192, kCopied = std::int64_t{1} << 30;
  pool.clear();
  const Tensor from = pool.normal(DType::f32, {kCopied / 4}),
               to = pool.raw(DType::f32, {kCopied / 4});
  const Launch copy = [&](const Stream& s) { copy_on_device(to.data, from.data, kCopied, s); };
  const double copy_us = time_calls({copy}, stream);
  const Case product = op_case("Gemm", "8192^3", [](Pool& p) {
    const auto square = [&] { return p.normal(DType::bf16, {kSide, kSide}); };
    return kernels::Gemm{.a = square(), .b = square(), .c = square(), .trans_b = true};
  });
  Result gemm = measure(product, pool, stream, 0);
  return {.copy_gb_s = 2.0 * kCopied / copy_us * 1e-3, .gemm_tflop_s = gemm.tflop_s()};
}

}  // namespace strait::bench
