#include "kernels/cuda/gemm_tune.h"

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <map>
#include <memory>

#include "kernels/cuda/context.h"
#include "kernels/cuda/memory.h"
#include "kernels/cuda/noise.h"
#include "kernels/device_error.h"

namespace strait::kernels::cuda {
namespace {

constexpr int kCandidates = 32;
constexpr double kHopeless = 1.15;  // times the best in a first look: not measured any further
constexpr double kBurstUs = 20000;  // a candidate runs this long unseen, then this long timed
constexpr double kMargin = 0.96;    // the first choice stays unless beaten by more than the noise

struct Free {
  void operator()(void* pointer) const { release(pointer); }
};
using Block = std::unique_ptr<void, Free>;

/// Random values for the operands of one product: zeros would draw less power and run faster.
class Operands {
 public:
  explicit Operands(const Gemm& op) : op_(op) {
    for (ConstTensor* t : {&op_.a, &op_.b, &op_.bias}) t->data = fill(*t);
    op_.c.data = fill(op_.c);
    check_cuda(cudaDeviceSynchronize(), "tune: filling operands");
  }
  const Gemm& op() const { return op_; }

 private:
  void* fill(const ConstTensor& t) {
    if (!t.defined()) return nullptr;
    const std::int64_t rows = t.rank == 2 ? t.shape[0] : 1;
    const std::int64_t length = rows * std::max(t.stride[0], t.shape[t.rank - 1]);
    blocks_.emplace_back(allocate(static_cast<std::size_t>(length) * size_of(t.dtype)));
    fill_noise(blocks_.back().get(), length, t.dtype);
    return blocks_.back().get();
  }

  Gemm op_;
  std::vector<Block> blocks_;
};

/// Microseconds of a product by events on a stream.
class Clock {
 public:
  Clock() {
    check_cuda(cudaEventCreate(&begin_), "cudaEventCreate");
    check_cuda(cudaEventCreate(&end_), "cudaEventCreate");
  }
  ~Clock() {
    cudaEventDestroy(begin_);
    cudaEventDestroy(end_);
  }
  Clock(const Clock&) = delete;
  Clock& operator=(const Clock&) = delete;

  template <class Body>
  double us(int calls, Body&& body) {
    check_cuda(cudaEventRecord(begin_), "cudaEventRecord");
    for (int i = 0; i < calls; ++i) body();
    check_cuda(cudaEventRecord(end_), "cudaEventRecord");
    check_cuda(cudaEventSynchronize(end_), "tune: a candidate");
    float ms = 0;
    check_cuda(cudaEventElapsedTime(&ms, begin_, end_), "cudaEventElapsedTime");
    return 1e3 * static_cast<double>(ms) / calls;
  }

 private:
  cudaEvent_t begin_ = nullptr, end_ = nullptr;
};

/// The candidates for one product, and their times.
class Contest {
 public:
  explicit Contest(const Gemm& op)
      : op_(op),
        plan_(context_.cublas(), GemmShape(op).least_aligned(), Context::kWorkspace, GemmTable()),
        workspace_(context_.workspace(Stream{.device = Device::cuda}, Context::kWorkspace)) {}

  /// A large product draws all the power a device may have, and then the clock depends on what
  /// runs. So a candidate runs by itself for a while, right between two such runs of the library's
  /// first choice, and its time is told as a share of theirs. The winner has to win twice.
  GemmTableRow run() {
    const std::vector<GemmAlgorithm> close = close_ones();
    const GemmAlgorithm& first = close.front();
    std::size_t fastest = 0;
    double least = kMargin;
    last_ = burst(first);
    for (std::size_t i = 1; i < close.size(); ++i) {
      const double share = share_of(close[i], first);
      if (share >= least) continue;
      least = share;
      fastest = i;
    }
    const double again = fastest > 0 ? share_of(close[fastest], first) : 1;
    const bool wins = again < kMargin;
    return {.algorithm = (wins ? close[fastest] : first).value,
            .us = (wins ? again : 1) * last_,
            .heuristic_us = last_};
  }

 private:
  double time(const GemmAlgorithm& algorithm, int calls) {
    plan_.use(algorithm);
    return clock_.us(calls, [&] { plan_.run(context_.cublas(), op_, workspace_, nullptr); });
  }

  double burst(const GemmAlgorithm& algorithm) {
    const double us = time(algorithm, 1);
    const int calls = std::max(1, static_cast<int>(kBurstUs / us));
    time(algorithm, calls);
    return time(algorithm, calls);
  }

  /// Time of a candidate over that of `first`, which ran just before and runs again just after.
  double share_of(const GemmAlgorithm& candidate, const GemmAlgorithm& first) {
    const double before = last_, us = burst(candidate);
    last_ = burst(first);
    return 2 * us / (before + last_);
  }

  /// The library's first choice, then those that a first look finds not much slower than the best.
  std::vector<GemmAlgorithm> close_ones() {
    std::vector<GemmAlgorithm> all = plan_.candidates(context_.cublas(), kCandidates), close;
    if (all.empty()) throw DeviceError("tune: cuBLASLt offers no algorithm");
    std::vector<double> us;
    for (const GemmAlgorithm& algorithm : all) {
      time(algorithm, 1);
      us.push_back(time(algorithm, 3));
    }
    const double limit = kHopeless * *std::ranges::min_element(us);
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (i == 0 || us[i] < limit) close.push_back(all[i]);
    }
    return close;
  }

  Context& context_ = Context::current();
  Gemm op_;
  GemmPlan plan_;
  void* workspace_;
  Clock clock_;
  double last_ = 0;  // microseconds of the library's first choice in its latest run
};

std::string report_line(const GemmShape& shape, const GemmTableRow& row) {
  char text[160];
  const double flops = 2.0 * static_cast<double>(shape.m) * static_cast<double>(shape.n) *
                       static_cast<double>(shape.k);
  std::snprintf(text, sizeof text, "%-64s %8.1f us %6.1f TFLOP/s, was %8.1f us\n",
                words_of(shape).c_str(), row.us, flops / row.us * 1e-6, row.heuristic_us);
  return text;
}

}  // namespace

std::string gemm_table_file() {
  std::string name = device_name();
  for (char& c : name) {
    c = std::isalnum(static_cast<unsigned char>(c)) != 0
            ? static_cast<char>(std::tolower(static_cast<unsigned char>(c)))
            : '_';
  }
  return name + ".txt";
}

GemmTuning tune_gemms(const std::vector<Gemm>& products, const std::string& old_table) {
  GemmTable table = GemmTable::parse(old_table);
  if (!table.fits(device_name(), cublasLtGetVersion())) {
    table = GemmTable(device_name(), cublasLtGetVersion());
  }
  GemmTuning out{.file = gemm_table_file(), .table = {}, .report = {}};
  std::map<std::string, Gemm> distinct;
  for (const Gemm& op : products) distinct.emplace(words_of(GemmShape(op)), op);
  for (const auto& [words, op] : distinct) {
    const Operands operands(op);
    const GemmShape shape(op);
    const GemmTableRow row = Contest(operands.op()).run();
    table.set(shape, row);
    out.report += report_line(shape, row);
  }
  out.table = table.text();
  return out;
}

std::string gemm_summary() {
  return Context::current().gemm_summary();
}

}  // namespace strait::kernels::cuda
