#include <algorithm>
#include <filesystem>
#include <optional>

#include "app/support/program.h"
#include "config/layout.h"
#include "core/error.h"
#include "train/load_config.h"
#include "train/plan_report.h"

namespace {

using namespace strait;

struct Request {
  config::Source source;
  int ranks = 0;  // 0: not given
  std::string layout;
  std::string format = "text";
  std::string device;
};

std::vector<app::Option> options_of(Request& request) {
  std::vector<app::Option> options = app::source_options(request.source);
  options.push_back(
      app::count("--ranks", "N", "plan for a run of N ranks (1)", request.ranks, 1, 1'000'000'000));
  options.push_back(app::text(
      "--layout", "NAME", "plan for a mesh, dp2tp4cp2 or dp8ep4 say, of any size", request.layout));
  options.push_back(app::text("--device", "NAME",
                              "predict the step by the rates of this GPU: NAME for "
                              "tests/bench/results/rates-NAME.json, or a path (h100)",
                              request.device));
  options.push_back(app::text("--format", "FORMAT", "text, csv or json (text)", request.format));
  options.push_back({.name = "--json",
                     .help = "the same as --format json",
                     .take = [&](const std::string&) { request.format = "json"; }});
  return options;
}

/// Ranks of the request; a layout also sets the mesh, before what --set says.
int take_ranks(Request& request) {
  if (request.layout.empty()) return std::max(request.ranks, 1);
  const config::Layout layout = config::parse_layout(request.layout);
  if (request.ranks > 0 && request.ranks != layout.ranks()) {
    throw core::InputError("--layout " + request.layout + " has " + std::to_string(layout.ranks()) +
                           " ranks, --ranks " + std::to_string(request.ranks) +
                           "; leave one of them out");
  }
  config::Preset& preset = request.source.preset;
  preset = {.origin = "--layout " + request.layout, .assignments = layout.overrides()};
  if (layout.ring) preset.assignments.push_back("parallel.cp_exchange=ring");
  return static_cast<int>(layout.ranks());
}

/// The rates that were asked for; without the option those of the H100, where the tree is at hand.
std::optional<io::Rates> take_rates(const Request& request) {
  const bool asked = !request.device.empty();
  std::filesystem::path path = request.device;
  if (!asked || !std::filesystem::exists(path)) {
    const std::string name = asked ? request.device : "h100";
    path = config::locate("tests/bench/results/rates-" + name + ".json");
  }
  if (asked && !std::filesystem::exists(path)) {
    throw core::InputError("--device " + request.device + ": no rates of this GPU, no " +
                           path.string() +
                           "; expected h100 or a file that "
                           "scripts/gpu_rates.py wrote");
  }
  if (!asked && !std::filesystem::exists(path)) return std::nullopt;
  return io::read_rates(path);
}

std::string written(const train::PlanReport& report, const std::string& format) {
  if (format == "json") return train::to_json(report) + "\n";
  return format == "csv" ? train::to_csv(report) : train::to_text(report);
}

void run(int argc, char** argv) {
  Request request;
  if (!app::parse_arguments(argc, argv, "./plan --config NAME", options_of(request))) return;
  if (request.source.name.empty()) {
    throw core::InputError("--config is missing; for example --config ccgqa_moe.json");
  }
  if (request.format != "text" && request.format != "csv" && request.format != "json") {
    throw core::InputError("--format " + request.format + ": expected text, csv or json");
  }
  const int ranks = take_ranks(request);
  const std::optional<io::Rates> rates = take_rates(request);
  const config::Config config = train::load_config(request.source, ranks, true);
  const train::PlanReport report =
      train::make_plan_report(config, ranks, rates ? &*rates : nullptr);
  app::print(written(report, request.format));
}

}  // namespace

int main(int argc, char** argv) {
  return strait::app::guarded("plan", [&] { run(argc, argv); });
}
