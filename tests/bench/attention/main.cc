#include <cstdio>
#include <exception>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "core/build_info.h"
#include "kernels/device_info.h"
#include "kernels/gemm_tuning.h"
#include "kernels/memory.h"
#include "tests/bench/attention/row.h"
#include "tests/bench/ops/device.h"
#include "tests/bench/ops/load_watch.h"
#include "tests/bench/ops/measure.h"

// Times of attention cores and whole attention layers on one GPU: see usage().
namespace strait::bench {
namespace {

using nlohmann::json;

void usage() {
  std::puts(
      "usage: attention_bench [--shape HEADS,GROUPS,KEY_DIM,VALUE_DIM,DOCUMENTS,LENGTH]\n"
      "                       [--only fwd|bwd] [--runs N]\n"
      "         Cores: the shape given, causal, or a list of common ones. A line each: median\n"
      "         milliseconds, and TFLOP/s of the (query, key) pairs that the mask leaves.\n"
      "       attention_bench --serve\n"
      "         Reads a row of scripts/attention_grid.py a line, in JSON, and answers each with a\n"
      "         line of milliseconds; {\"what\": \"ceiling\"} asks for the rate of 8192^3.\n"
      "       attention_bench --tune DIR\n"
      "         Chooses algorithms for the products of CCA-4x layers of few tokens by measurement\n"
      "         and writes them to the device's table in DIR (kernels/cuda/gemm_table).");
}

/// (query, key) pairs that are not masked, over all heads.
double pairs_of(const Row& row) {
  const auto n = static_cast<double>(row.length);
  const double each = row.causal ? n * (n + 1) / 2 : n * n;
  return each * static_cast<double>(row.documents * row.heads);
}

void print(const Row& row, const char* pass, double ms, double flops_per_pair) {
  std::printf("%s  heads %2lld/%-2lld  d %lld/%lld  %lld x %-6lld %-6s  %8.3f ms  %6.1f TFLOP/s\n",
              pass, static_cast<long long>(row.heads), static_cast<long long>(row.groups),
              static_cast<long long>(row.key_dim), static_cast<long long>(row.value_dim),
              static_cast<long long>(row.documents), static_cast<long long>(row.length),
              row.causal ? "causal" : "full", ms, pairs_of(row) * flops_per_pair / ms * 1e-9);
  std::fflush(stdout);
}

/// Two products forward, five backward.
void print(const Row& row, const Times& times) {
  const auto dk = static_cast<double>(row.key_dim), dv = static_cast<double>(row.value_dim);
  if (times.fwd_ms) print(row, "fwd", *times.fwd_ms, 2 * (dk + dv));
  if (times.bwd_ms) print(row, "bwd", *times.bwd_ms, 2 * (3 * dk + 2 * dv));
}

/// D = 2048: MHA, CCA-4x, CCA-2x8x, CCA-8x and 16 over 4 heads, and a few other head dims.
std::vector<Row> common_rows() {
  std::vector<Row> rows;
  for (const auto& [heads, groups] : {std::pair{16, 16}, {4, 4}, {8, 2}, {2, 2}, {16, 4}}) {
    for (const auto& [documents, length] : {std::pair{1, 16384}, {4, 4096}, {1, 4096}}) {
      rows.push_back({.heads = heads, .groups = groups, .documents = documents, .length = length});
    }
  }
  rows.push_back({.heads = 16, .groups = 16, .length = 16384, .causal = false});
  rows.push_back({.heads = 4, .groups = 4, .length = 16384, .causal = false});
  for (const auto& [heads, dk, dv] :
       {std::tuple{32, 64, 64}, {8, 64, 64}, {16, 192, 128}, {8, 256, 256}}) {
    rows.push_back(
        {.heads = heads, .groups = heads, .key_dim = dk, .value_dim = dv, .length = 16384});
  }
  return rows;
}

Row parse_shape(const std::string& text) {
  long long n[6];
  if (std::sscanf(text.c_str(), "%lld,%lld,%lld,%lld,%lld,%lld", n, n + 1, n + 2, n + 3, n + 4,
                  n + 5) != 6) {
    throw std::invalid_argument("--shape takes six numbers, got " + text);
  }
  return {.heads = n[0],
          .groups = n[1],
          .key_dim = n[2],
          .value_dim = n[3],
          .documents = n[4],
          .length = n[5]};
}

Row row_of(const json& line) {
  Row row;
  row.what = line.at("what");
  row.kind = line.at("kind");
  row.heads = line.at("heads");
  row.groups = line.at("groups");
  row.key_dim = line.at("key_dim");
  row.value_dim = line.at("value_dim");
  row.length = line.at("length");
  row.causal = line.at("causal");
  row.rounds = line.at("rounds");
  row.round_ms = line.at("round_ms");
  return row;
}

/// The rate of 8192^3 and how the device was meanwhile.
json ceiling(const Stream& stream) {
  const kernels::DeviceInfo device = kernels::device_info(kernels::Device::cuda);
  Pool pool(std::size_t{1} << 30, stream);
  const LoadWatch watch;
  heat_up(pool, stream);
  const double rate = measure(large_product(), pool, stream, 0).rate();
  const LoadState state = watch.state();
  return {{"tflop_s", rate},
          {"device", device.name},
          {"driver", device.driver},
          {"revision", core::revision()},
          {"clock_mhz", state.clock_mhz},
          {"power_w", state.power_w},
          {"temperature_c", state.temperature_c},
          {"slowdown", slowdown(state, rate, device)}};
}

json answer(const json& line, const Stream& stream) {
  if (line.at("what") == "ceiling") return ceiling(stream);
  const Row row = row_of(line);
  const Times times = row.what == "layer" ? measure_layer(row, stream) : measure_core(row, stream);
  return {{"fwd_ms", times.fwd_ms.value()}, {"bwd_ms", times.bwd_ms.value()}};
}

void tune(const std::string& folder) {
  std::vector<kernels::Gemm> products;
  for (const std::int64_t length : {512, 1024, 4096}) {
    const Row row{.what = "layer", .kind = "cca", .heads = 4, .groups = 4, .length = length};
    for (const kernels::Gemm& op : products_of_layer(row)) products.push_back(op);
  }
  const std::string path = folder + "/" + kernels::gemm_table_file();
  std::ostringstream old;
  old << std::ifstream(path).rdbuf();
  const kernels::GemmTuning tuning = kernels::tune_gemms(products, old.str());
  std::fputs(tuning.report.c_str(), stdout);
  std::ofstream out(path);
  out << tuning.table;
  if (!out.flush()) throw std::runtime_error(path + ": cannot be written");
}

int serve(const Stream& stream) {
  for (std::string line; std::getline(std::cin, line);) {
    json reply;
    try {
      reply = answer(json::parse(line), stream);
    } catch (const std::exception& error) {
      reply = {{"error", error.what()}};
    }
    std::cout << reply.dump() << std::endl;
  }
  return 0;
}

int run(int argc, char** argv) {
  std::vector<Row> rows = common_rows();
  std::string only, folder;
  int rounds = Row{}.rounds;
  bool serves = false;
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    serves = serves || name == "--serve";
    if (name == "--serve") continue;
    if (i + 1 == argc ||
        (name != "--shape" && name != "--only" && name != "--runs" && name != "--tune")) {
      usage();
      return 2;
    }
    const std::string value = argv[++i];
    if (name == "--shape") rows = {parse_shape(value)};
    if (name == "--only") only = value;
    if (name == "--tune") folder = value;
    if (name == "--runs") rounds = std::stoi(value);
  }
  if (!kernels::available(kernels::Device::cuda)) {
    std::fputs("attention_bench: no CUDA device on this machine\n", stderr);
    return 3;
  }
  const Stream stream = make_stream();
  if (serves) return serve(stream);
  if (!folder.empty()) {
    tune(folder);
    return 0;
  }
  for (Row& row : rows) {
    row.only = only;
    row.rounds = rounds;
    print(row, measure_core(row, stream));
  }
  return 0;
}

}  // namespace
}  // namespace strait::bench

int main(int argc, char** argv) {
  try {
    return strait::bench::run(argc, argv);
  } catch (const std::invalid_argument& error) {
    std::fprintf(stderr, "attention_bench: %s\n", error.what());
    return 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "attention_bench: %s\n", error.what());
    return 3;
  }
}
