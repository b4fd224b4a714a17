#include <cstdio>
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
  std::string ranks;
  std::string layout;
  std::string format = "text";
  std::string device;
  bool help = false;
};

std::vector<app::Option> options_of(Request& request) {
  std::vector<app::Option> options = app::source_options(request.source);
  options.push_back({.name = "--ranks",
                     .value = "N",
                     .help = "plan for a run of N ranks (1)",
                     .take = [&](const std::string& value) { request.ranks = value; }});
  options.push_back({.name = "--layout",
                     .value = "NAME",
                     .help = "plan for a mesh, dp2tp4cp2 or dp8ep4 say, of any size",
                     .take = [&](const std::string& value) { request.layout = value; }});
  options.push_back({.name = "--device",
                     .value = "NAME",
                     .help = "predict the step by the rates of this GPU: NAME for "
                             "tests/bench/results/rates-NAME.json, or a path (h100)",
                     .take = [&](const std::string& value) { request.device = value; }});
  options.push_back({.name = "--format",
                     .value = "FORMAT",
                     .help = "text, csv or json (text)",
                     .take = [&](const std::string& value) { request.format = value; }});
  options.push_back({.name = "--json",
                     .help = "the same as --format json",
                     .take = [&](const std::string&) { request.format = "json"; }});
  options.push_back({.name = "--help", .help = "this text", .take = [&](const std::string&) {
                       request.help = true;
                     }});
  return options;
}

int rank_count(const std::string& text) {
  int ranks = 0;
  int used = 0;
  const bool whole = std::sscanf(text.c_str(), "%9d%n", &ranks, &used) == 1 &&
                     static_cast<std::size_t>(used) == text.size();
  if (!whole || ranks < 1) {
    throw core::InputError("--ranks " + text + ": expected a whole number of at least 1");
  }
  return ranks;
}

/// Ranks of the request; a layout also sets the mesh, before what --set says.
int take_ranks(Request& request) {
  if (request.layout.empty()) return request.ranks.empty() ? 1 : rank_count(request.ranks);
  const config::Layout layout = config::parse_layout(request.layout);
  if (!request.ranks.empty() && rank_count(request.ranks) != layout.ranks()) {
    throw core::InputError("--layout " + request.layout + " has " + std::to_string(layout.ranks()) +
                           " ranks, --ranks " + request.ranks + "; leave one of them out");
  }
  std::vector<std::string> mesh;
  const auto set = [&](const char* axis, std::int64_t size) {
    mesh.push_back(std::string("parallel.") + axis + "=" + std::to_string(size));
  };
  set("dp", layout.dp);
  set("cp", layout.cp);
  set("tp", layout.tp);
  set("ep", layout.ep);
  if (layout.ring) mesh.push_back("parallel.cp_exchange=ring");
  request.source.overrides.insert(request.source.overrides.begin(), mesh.begin(), mesh.end());
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
  if (!asked && !std::filesystem::exists(path)) return std::nullopt;
  return io::read_rates(path);
}

std::string written(const train::PlanReport& report, const std::string& format) {
  if (format == "json") return train::to_json(report) + "\n";
  return format == "csv" ? train::to_csv(report) : train::to_text(report);
}

void run(int argc, char** argv) {
  Request request;
  const std::vector<app::Option> options = options_of(request);
  app::parse_arguments(argc, argv, options);
  if (request.help) {
    std::fputs(app::usage("./plan --config NAME", options).c_str(), stdout);
    return;
  }
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
  std::fputs(written(report, request.format).c_str(), stdout);
}

}  // namespace

int main(int argc, char** argv) {
  return strait::app::guarded("plan", [&] { run(argc, argv); });
}
