#include <cstdio>
#include <ctime>
#include <exception>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/build_info.h"
#include "kernels/memory.h"
#include "tests/bench/ops/device.h"
#include "tests/bench/ops/measure.h"

// Every op at the shapes of configs/bench beside what the device can do: see usage().
namespace strait::bench {
namespace {

constexpr std::size_t kPoolBytes = std::size_t{8} << 30;

void usage() {
  std::puts(
      "usage: op_bench [--filter TEXT] [--json FILE]\n"
      "  --filter TEXT  only cases whose name contains TEXT\n"
      "  --json FILE    also write the results there");
}

std::string now() {
  const std::time_t time = std::time(nullptr);
  char text[32];
  std::strftime(text, sizeof text, "%FT%TZ", std::gmtime(&time));
  return text;
}

void print_header(const DeviceInfo& device, const Ceilings& ceilings) {
  std::printf("%s, driver %s, cuBLASLt %s, %s, revision %s\n", device.name.c_str(),
              device.driver.c_str(), device.cublaslt.c_str(), now().c_str(),
              core::revision().c_str());
  std::printf("ceilings: copy %.0f GB/s, Gemm 8192^3 %.1f TFLOP/s\n", ceilings.copy_gb_s,
              ceilings.gemm_tflop_s);
}

void print(const Result& result, const Ceilings& ceilings) {
  std::printf("%-34s %-34s %9.1f us %8.1f %-8s %5.1f %%\n", result.name.c_str(),
              result.shape.c_str(), result.us, result.product ? result.tflop_s() : result.gb_s(),
              result.product ? "TFLOP/s" : "GB/s", 100 * ceilings.fraction(result));
  std::fflush(stdout);
}

nlohmann::json to_json(const DeviceInfo& device, const Ceilings& ceilings,
                       const std::vector<Result>& results) {
  nlohmann::json rows = nlohmann::json::array();
  for (const Result& r : results) {
    nlohmann::json row = {{"op", r.name},
                          {"shape", r.shape},
                          {"us", r.us},
                          {"bytes", r.bytes},
                          {"fraction", ceilings.fraction(r)}};
    if (r.product) row["flops"] = r.flops;
    rows.push_back(std::move(row));
  }
  return {{"device", device.name},
          {"driver", device.driver},
          {"cublaslt", device.cublaslt},
          {"date", now()},
          {"revision", core::revision()},
          {"copy_gb_s", ceilings.copy_gb_s},
          {"gemm_8192_tflop_s", ceilings.gemm_tflop_s},
          {"ops", std::move(rows)}};
}

std::vector<Case> all_cases() {
  std::vector<Case> all;
  for (auto cases : {block_cases(), head_cases(), moe_cases(), optimizer_cases(), gemm_cases()}) {
    for (Case& item : cases) all.push_back(std::move(item));
  }
  return all;
}

int run(const std::string& filter, const std::string& json) {
  if (!kernels::available(kernels::Device::cuda)) {
    std::fputs("op_bench: no CUDA device on this machine\n", stderr);
    return 3;
  }
  const DeviceInfo device = device_info();
  const Stream stream = make_stream();
  Pool pool(kPoolBytes, stream);
  Ceilings ceilings = measure_ceilings(pool, stream);
  print_header(device, ceilings);
  std::vector<Result> results;
  for (const Case& item : all_cases()) {
    if (item.name.find(filter) == std::string::npos) continue;
    results.push_back(measure(item, pool, stream, device.l2_bytes));
    print(results.back(), ceilings);
  }
  // The device may have been cold, or be throttled by now: the better of both is the ceiling.
  const Ceilings after = measure_ceilings(pool, stream);
  std::printf("ceilings afterwards: copy %.0f GB/s, Gemm 8192^3 %.1f TFLOP/s\n", after.copy_gb_s,
              after.gemm_tflop_s);
  ceilings.raise(after);
  if (!json.empty()) std::ofstream(json) << to_json(device, ceilings, results).dump(1) << '\n';
  return 0;
}

}  // namespace
}  // namespace strait::bench

int main(int argc, char** argv) {
  std::string filter, json;
  for (int i = 1; i < argc; i += 2) {
    const std::string name = argv[i];
    if (i + 1 == argc || (name != "--filter" && name != "--json")) {
      strait::bench::usage();
      return 2;
    }
    (name == "--filter" ? filter : json) = argv[i + 1];
  }
  try {
    return strait::bench::run(filter, json);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "op_bench: %s\n", error.what());
    return 3;
  }
}
