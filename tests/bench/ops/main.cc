#include <algorithm>
#include <cstdio>
#include <ctime>
#include <exception>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/build_info.h"
#include "kernels/device_info.h"
#include "kernels/gemm_tuning.h"
#include "kernels/memory.h"
#include "tests/bench/ops/device.h"
#include "tests/bench/ops/load_watch.h"
#include "tests/bench/ops/measure.h"

// Every op at the shapes of configs/bench beside what the device can do: see usage().
namespace strait::bench {
namespace {

constexpr std::size_t kPoolBytes = std::size_t{8} << 30;

void usage() {
  std::puts(
      "usage: op_bench [--filter TEXT] [--json FILE] [--tune DIR]\n"
      "  --filter TEXT  only cases whose name contains TEXT\n"
      "  --json FILE    also write the results there\n"
      "  --tune DIR     instead choose algorithms for the matrix products among the cases by\n"
      "                 measurement and write the device's table in DIR (kernels/cuda/gemm_table)");
}

struct Request {
  std::string filter, json, tune;
};

std::string now() {
  const std::time_t time = std::time(nullptr);
  char text[32];
  std::strftime(text, sizeof text, "%FT%TZ", std::gmtime(&time));
  return text;
}

std::string head_line(const kernels::DeviceInfo& device) {
  return device.name + ", driver " + device.driver + ", cuBLASLt " + cublaslt_version() + ", " +
         now() + ", revision " + core::revision();
}

void print(const Result& result) {
  std::printf("%-34s %-34s %9.1f us %8.1f of %6.1f %-8s %5.1f %%\n", result.name.c_str(),
              result.shape.c_str(), result.us, result.rate(), result.ceiling,
              result.product ? "TFLOP/s" : "GB/s", 100 * result.fraction());
  std::fflush(stdout);
}

nlohmann::json to_json(const kernels::DeviceInfo& device, const std::vector<Result>& results,
                       const LoadState& state, const std::string& slow) {
  nlohmann::json rows = nlohmann::json::array();
  for (const Result& r : results) {
    nlohmann::json row = {{"op", r.name}, {"shape", r.shape}, {"us", r.us}, {"bytes", r.bytes}};
    if (r.product) row["flops"] = r.flops;
    row[r.product ? "tflop_s" : "gb_s"] = r.rate();
    row["ceiling"] = r.ceiling;
    rows.push_back(std::move(row));
  }
  return {{"device", device.name},
          {"driver", device.driver},
          {"cublaslt", cublaslt_version()},
          {"date", now()},
          {"revision", core::revision()},
          {"clock_mhz", state.clock_mhz},
          {"power_w", state.power_w},
          {"temperature_c", state.temperature_c},
          {"slowdown", slow},
          {"ops", std::move(rows)}};
}

std::vector<Case> cases_for(const std::string& filter) {
  std::vector<Case> chosen;
  for (auto cases : {block_cases(), head_cases(), moe_cases(), grouped_cases(), zaya_cases(),
                     optimizer_cases(), gemm_cases()}) {
    for (Case& item : cases) {
      if (item.name.find(filter) != std::string::npos) chosen.push_back(std::move(item));
    }
  }
  return chosen;
}

/// The hot device's rate changes with what ran before: a product's ceiling is the mean of the large
/// product right before and right after it.
std::vector<Result> measure_all(const std::vector<Case>& cases, Pool& pool, const Stream& stream) {
  const double copy = copy_ceiling(pool, stream);
  std::vector<Result> results;
  double large = 0;
  const auto measure_large = [&] { return measure(large_product(), pool, stream, 0).rate(); };
  for (const Case& item : cases) {
    if (item.product && large == 0) {
      heat_up(pool, stream);
      large = measure_large();
    }
    Result result = measure(item, pool, stream, l2_bytes());
    result.ceiling = copy;
    if (item.product) {
      const double before = large;
      large = measure_large();
      result.ceiling = (before + large) / 2;
    }
    print(result);
    results.push_back(std::move(result));
  }
  return results;
}

/// The median rate of the large product; 0 without products.
double large_rate(const std::vector<Result>& results) {
  std::vector<double> rates;
  for (const Result& r : results) {
    if (r.product) rates.push_back(r.ceiling);
  }
  if (rates.empty()) return 0;
  const auto middle = rates.begin() + static_cast<std::ptrdiff_t>(rates.size() / 2);
  std::ranges::nth_element(rates, middle);
  return *middle;
}

class Products : public kernels::LaunchObserver {
 public:
  void on_launch(const char*, const kernels::Work&) override {}
  void on_product(const kernels::Gemm& op) override { found.push_back(op); }
  std::vector<kernels::Gemm> found;
};

void tune(const std::vector<Case>& cases, Pool& pool, const std::string& folder) {
  Products products;
  const Stream plan{.device = kernels::Device::plan, .observer = &products};
  large_product().make(pool)(plan);
  for (const Case& item : cases) {
    pool.clear();
    if (item.product) item.make(pool)(plan);
  }
  const std::string path = folder + "/" + kernels::gemm_table_file();
  std::ostringstream old;
  old << std::ifstream(path).rdbuf();
  const kernels::GemmTuning tuning = kernels::tune_gemms(products.found, old.str());
  std::fputs(tuning.report.c_str(), stdout);
  std::ofstream out(path);
  out << tuning.table;
  if (!out.flush()) throw std::runtime_error(path + ": cannot be written");
}

int run(const Request& request) {
  if (!kernels::available(kernels::Device::cuda)) {
    std::fputs("op_bench: no CUDA device on this machine\n", stderr);
    return 3;
  }
  const kernels::DeviceInfo device = kernels::device_info(kernels::Device::cuda);
  const Stream stream = make_stream();
  Pool pool(kPoolBytes, stream);
  std::printf("%s\n", head_line(device).c_str());
  const std::vector<Case> cases = cases_for(request.filter);
  if (!request.tune.empty()) {
    tune(cases, pool, request.tune);
    return 0;
  }
  const LoadWatch watch;
  const std::vector<Result> results = measure_all(cases, pool, stream);
  const LoadState state = watch.state();
  std::printf("%s\n", kernels::gemm_summary().c_str());
  const std::string slow = slowdown(state, large_rate(results), device);
  if (!slow.empty()) std::printf("SLOWED DOWN, timings are void: %s\n", slow.c_str());
  if (!request.json.empty()) {
    std::ofstream(request.json) << to_json(device, results, state, slow).dump(1) << '\n';
  }
  return 0;
}

}  // namespace
}  // namespace strait::bench

int main(int argc, char** argv) {
  strait::bench::Request request;
  for (int i = 1; i < argc; i += 2) {
    const std::string name = argv[i];
    std::string* const value = name == "--filter" ? &request.filter
                               : name == "--json" ? &request.json
                               : name == "--tune" ? &request.tune
                                                  : nullptr;
    if (!value || i + 1 == argc) {
      strait::bench::usage();
      return 2;
    }
    *value = argv[i + 1];
  }
  try {
    return strait::bench::run(request);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "op_bench: %s\n", error.what());
    return 3;
  }
}
