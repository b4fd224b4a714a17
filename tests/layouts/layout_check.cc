#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <string>
#include <vector>

#include "app/support/program.h"
#include "config/data_list.h"
#include "config/layout.h"
#include "core/error.h"
#include "parallel/comm_mpi.h"
#include "tests/layouts/rank_run.h"
#include "tests/support/temp_folder.h"
#include "train/load_config.h"

// Runs one config on several layouts of ranks and says how far each is from one rank; README.md
// describes it. It starts mpirun with itself as the program (--rank-of).
namespace strait::layouts {
namespace {

namespace fs = std::filesystem;
using config::Layout;

struct Request {
  config::Source source;
  std::string layouts, device = "cpu", dtype = "f64", rank_of, out;
  double tolerance = 1e-10, weight_tolerance = 1e-9;
  std::int64_t draws = 0, steps = 10;
  bool peers = false;
};

std::vector<app::Option> options_of(Request& request) {
  std::vector<app::Option> options = app::source_options(request.source);
  const app::Option own[] = {
      app::text("--layouts", "LIST", "such as dp2,tp2cp2,ep2,cp2.ring", request.layouts),
      app::text("--device", "cpu|cuda", "where each rank computes (cpu)", request.device),
      app::text(
          "--dtype", "f64|f32|bf16",
          "f64 (the default); bf16: gradients may be twice as far from one rank in f32 as one "
          "rank in bf16 is, and model.ffn.moe.forced_balance is true unless --set says otherwise",
          request.dtype),
      app::number("--tol", "X", "largest relative L2 of loss and gradients (1e-10)",
                  request.tolerance, 0),
      app::number("--weight-tol", "X", "largest relative L2 of weights (1e-9)",
                  request.weight_tolerance, 0),
      app::count("--draws", "N",
                 "batches whose gradients are compared; 0: one, in bf16 eight, for tensors of few "
                 "numbers alone (0)",
                 request.draws, 0),
      app::count("--steps", "N", "optimizer steps before weights are compared; 0: none (10)",
                 request.steps, 0),
      app::flag("--peers", "on the CPU: ranks write to each other, as GPUs of one host do",
                request.peers),
      app::text("--rank-of", "LIST", "run as one rank under mpirun; used by the program itself",
                request.rank_of),
      app::text("--out", "DIR", "where ranks leave their values; used by the program itself",
                request.out)};
  options.insert(options.end(), std::begin(own), std::end(own));
  return options;
}

/// Comma-separated names.
std::vector<Layout> parse_layouts(const std::string& list) {
  std::vector<Layout> layouts;
  for (const std::string& name : config::split_list(list)) {
    layouts.push_back(config::parse_layout(name));
  }
  if (layouts.empty()) layouts.push_back(config::parse_layout(list));  // which refuses it
  return layouts;
}

config::Config config_for(const Request& request, const Layout& layout) {
  config::Source source = request.source;
  const auto set = [&](const std::string& key, const std::string& value) {
    source.overrides.push_back(key + "=" + value);
  };
  for (const std::string& size : layout.overrides()) source.overrides.push_back(size);
  set("parallel.cp_exchange", layout.ring ? "ring" : "gather");
  set("precision.compute", request.dtype);
  set("run.device", request.device);
  set("eval.sample_tokens", "0");
  set("eval.sample_prompt", "");
  const config::Train train = config::read(source).train;
  const std::int64_t share = std::max<std::int64_t>(1, train.batch_size / layout.dp);
  set("train.micro_batch",
      std::to_string(train.micro_batch > 0 ? std::gcd(train.micro_batch, share) : share));
  return train::load_config(source, layout.ranks(), request.device == "cuda");
}

fs::path values_file(const fs::path& folder, const Layout& layout, int rank) {
  return folder / (layout.name + "." + std::to_string(rank));
}

int run_as_rank(const Request& request, int argc, char** argv) {
  parallel::MpiSession mpi(&argc, &argv);
  return app::guarded(
      "layout_check",
      [&] {
        const Device device = request.device == "cuda" ? Device::cuda : Device::cpu;
        for (const Layout& layout : parse_layouts(request.rank_of)) {
          const config::Config config = config_for(request, layout);
          const RankValues values =
              run_rank(config, mpi.world(), device,
                       {.draws = request.draws, .steps = request.steps, .peers = request.peers});
          write_values(values_file(request.out, layout, mpi.world().rank()), values);
        }
      },
      [&](int code) { mpi.abort(code); });
}

std::string quoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? "'\\''" : std::string(1, c);
  return out + "'";
}

/// What Open MPI needs to start anywhere (scripts/mpi_env.sh), unless the user chose otherwise.
void prepare_environment() {
  for (const char* permission : {"OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"}) {
    ::setenv(permission, "1", 0);
  }
  ::setenv("OMPI_MCA_hwloc_base_binding_policy", "none", 0);
  ::setenv("OMPI_MCA_btl_vader_single_copy_mechanism", "none", 0);
  ::setenv("OMP_NUM_THREADS", "1", 0);
}

class Checker {
 public:
  Checker(Request request, std::string program)
      : request_(std::move(request)), program_(std::move(program)) {
    if (request_.draws == 0) request_.draws = narrow() ? 8 : 1;
    // A score in bf16 that is nearly tied may choose another expert: a jump, no error of gradients.
    if (narrow() && ffn().kind == config::FfnKind::moe) {
      request_.source.overrides.insert(request_.source.overrides.begin(),
                                       "model.ffn.moe.forced_balance=true");
    }
  }

  bool run() {
    const std::vector<Layout> layouts = parse_layouts(request_.layouts);
    for (const Layout& layout : layouts) config_for(request_, layout);
    const std::vector<Layout> one = parse_layouts("dp1");
    if (ffn().moe.forced_balance) {
      std::printf("experts take the places of a sequence in turn (model.ffn.moe.forced_balance)\n");
    }
    reference_ = ranks_of(one, narrow() ? "f32" : request_.dtype).front().front();
    if (narrow()) {
      const std::vector<RankValues> naive = ranks_of(one, "bf16").front();
      naive_ = distances(reference_.gradients, gradients_of(naive));
    }
    std::map<std::int64_t, std::vector<Layout>> by_ranks;
    for (const Layout& layout : layouts) by_ranks[layout.ranks()].push_back(layout);
    bool good = true;
    for (const auto& [ranks, list] : by_ranks) {
      const std::vector<std::vector<RankValues>> values = ranks_of(list, request_.dtype);
      for (std::size_t i = 0; i < list.size(); ++i) good = judge(list[i], values[i]) && good;
    }
    return good;
  }

 private:
  bool narrow() const { return request_.dtype == "bf16"; }
  config::Ffn ffn() const { return config::read(request_.source).model.ffn; }

  /// What the ranks of each layout computed; all are of as many ranks, which start once.
  std::vector<std::vector<RankValues>> ranks_of(const std::vector<Layout>& layouts,
                                                const std::string& dtype) const {
    const test::TempFolder out;
    const std::int64_t ranks = layouts.front().ranks();
    std::string names;
    for (const Layout& layout : layouts) names += (names.empty() ? "" : ",") + layout.name;
    std::string command =
        STRAIT_MPIEXEC " --oversubscribe -n " + std::to_string(ranks) + " " + quoted(program_);
    const auto add = [&](const std::string& option, const std::string& value) {
      command += " " + option + " " + quoted(value);
    };
    add("--config", request_.source.name);
    for (const std::string& set : request_.source.overrides) add("--set", set);
    add("--device", request_.device);
    add("--dtype", dtype);
    add("--draws", std::to_string(request_.draws));
    add("--steps", std::to_string(dtype == "bf16" ? 0 : request_.steps));
    if (request_.peers) command += " --peers";
    add("--rank-of", names);
    add("--out", out.path().string());
    const int status = std::system(command.c_str());
    if (status != 0) {
      throw core::RuntimeFault("layouts " + names + " failed (" + std::to_string(status) +
                               "): " + command);
    }
    std::vector<std::vector<RankValues>> values;
    for (const Layout& layout : layouts) {
      values.emplace_back();
      for (std::int64_t rank = 0; rank < ranks; ++rank) {
        values.back().push_back(
            read_values(values_file(out.path(), layout, static_cast<int>(rank))));
      }
    }
    return values;
  }

  static std::vector<const Draws*> gradients_of(const std::vector<RankValues>& ranks) {
    std::vector<const Draws*> out;
    for (const RankValues& rank : ranks) out.push_back(&rank.gradients);
    return out;
  }

  double loss_distance(const std::vector<RankValues>& ranks) const {
    double distance = 0;
    for (const RankValues& rank : ranks) {
      distance = std::max(distance, std::abs(rank.loss - reference_.loss));
    }
    return distance / std::abs(reference_.loss);
  }

  bool judge(const Layout& layout, const std::vector<RankValues>& ranks) const {
    const auto gradients = distances(reference_.gradients, gradients_of(ranks));
    const Distance gradient = worst(gradients);
    const double loss = loss_distance(ranks);
    bool good = true;
    std::string text;
    if (naive_.empty()) {
      good = loss <= request_.tolerance && gradient.relative <= request_.tolerance;
    } else {
      Distance ratio;
      for (const auto& [name, relative] : gradients) {
        const double times = relative / naive_.at(name);
        if (!(times <= ratio.relative)) ratio = {times, name};
      }
      good = ratio.relative <= 2;
      text += line("  %.2f naive errors in %s", ratio.relative, ratio.name);
    }
    if (!ranks.front().weights.empty()) {
      std::vector<const Draws*> weights;
      for (const RankValues& rank : ranks) weights.push_back(&rank.weights);
      const Distance weight = worst(distances(reference_.weights, weights));
      good = good && weight.relative <= request_.weight_tolerance;
      text += line("  weights %.2e in %s", weight.relative, weight.name);
    }
    for (const RankValues& rank : ranks) {
      if (rank.bytes_error.empty()) continue;
      good = false;
      text += "  " + rank.bytes_error;
      break;
    }
    std::printf("%-12s loss %.2e  gradients %.2e in %s%s  %s\n", layout.name.c_str(), loss,
                gradient.relative, gradient.name.c_str(), text.c_str(), good ? "ok" : "FAILED");
    std::fflush(stdout);
    return good;
  }

  static std::string line(const char* format, double number, const std::string& name) {
    char text[256];
    std::snprintf(text, sizeof text, format, number, name.c_str());
    return text;
  }

  Request request_;
  std::string program_;
  RankValues reference_;
  std::map<std::string, double> naive_;
};

int main_of(int argc, char** argv) {
  Request request;
  bool good = true;
  const int code = app::guarded("layout_check", [&] {
    const char* synopsis = "layout_check --config FILE --layouts LIST";
    const bool goes_on = app::parse_arguments(argc, argv, synopsis, options_of(request));
    if (goes_on && request.rank_of.empty()) {
      prepare_environment();
      good = Checker(request, fs::canonical("/proc/self/exe").string()).run();
    }
  });
  if (code != 0) return code;
  if (!request.rank_of.empty()) return run_as_rank(request, argc, argv);
  return good ? 0 : 1;
}

}  // namespace
}  // namespace strait::layouts

int main(int argc, char** argv) {
  return strait::layouts::main_of(argc, argv);
}
