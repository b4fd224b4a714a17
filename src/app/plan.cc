#include <cstdio>

#include "app/support/program.h"
#include "core/error.h"
#include "train/load_config.h"
#include "train/plan_report.h"

namespace {

using namespace strait;

struct Request {
  config::Source source;
  std::string ranks = "1";
  bool json = false;
  bool help = false;
};

std::vector<app::Option> options_of(Request& request) {
  std::vector<app::Option> options = app::source_options(request.source);
  options.push_back({.name = "--ranks",
                     .value = "N",
                     .help = "plan for a run of N ranks (1)",
                     .take = [&](const std::string& value) { request.ranks = value; }});
  options.push_back({.name = "--json",
                     .help = "print one JSON object",
                     .take = [&](const std::string&) { request.json = true; }});
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
  const int ranks = rank_count(request.ranks);
  const train::PlanReport report =
      train::make_plan_report(train::load_config(request.source, ranks, true), ranks);
  const std::string text = request.json ? train::to_json(report) + "\n" : train::to_text(report);
  std::fputs(text.c_str(), stdout);
}

}  // namespace

int main(int argc, char** argv) {
  return strait::app::guarded("plan", [&] { run(argc, argv); });
}
