#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "ablate/machine.h"
#include "ablate/read_sweep.h"
#include "ablate/run_sweep.h"
#include "app/support/program.h"
#include "config/data_list.h"
#include "config/load.h"
#include "config/parse.h"
#include "core/error.h"
#include "core/files.h"
#include "core/log.h"
#include "input/tokenizer.h"
#include "train/load_config.h"

namespace {

using namespace strait;
namespace fs = std::filesystem;

struct Request {
  config::Source source;
  std::string size, out, results, gpus, report, report_only;
  ablate::RunOptions run;
  double flops_per_second = 0;
  bool no_report = false;
  bool dry_run = false;
};

std::vector<app::Option> place_options(Request& request) {
  return {
      app::text("--out", "DIR",
                "folder of the sweep (ablations/<name>_<size>); started again it goes on there",
                request.out),
      app::text("--results", "DIR",
                "finished cells that are taken from here instead of run (data/results/<name>)",
                request.results),
      app::flag("--publish", "copy finished cells, made slim, to the folder of results",
                request.run.publish),
      app::text("--report", "COMMAND",
                "started at the end with the folder (scripts/ablation_report.py)", request.report),
      app::flag("--no-report", "end with the last cell", request.no_report),
      app::text("--report-only", "DIR", "report again on the folder of a sweep, as far as it is",
                request.report_only),
      app::text("--train", "PROGRAM", "that runs a cell (train, beside this program)",
                request.run.train)};
}

std::vector<app::Option> run_options(Request& request) {
  ablate::RunOptions& run = request.run;
  return {
      app::text("--device", "WORD", "run.device of every cell: auto, cpu, cuda", run.device),
      app::text("--gpus", "LIST", "0,1,...: GPUs to spread over (all that are visible)",
                request.gpus),
      app::count("--jobs-per-gpu", "N", "cells at a time on each GPU; without GPUs, on the CPU (1)",
                 run.jobs, 1),
      app::count("--ranks", "N", "of each cell, under mpirun, on a GPU each (1)", run.ranks, 1),
      app::texts("--only", "CELLS",
                 "such as mha, seed2, mha/60m/seed1: run these alone; may be repeated", run.only),
      app::number("--time-limit", "S",
                  "start no cell that is not expected to end within S seconds from now",
                  run.time_limit_s, 0),
      app::number("--assume-flops", "F",
                  "FLOP/s of a GPU (2e14) or of the CPU (2e10 a core) until a cell has finished",
                  request.flops_per_second, 1),
      app::flag("--dry-run",
                "print variants, what matching solved, and what it will cost; run nothing",
                request.dry_run)};
}

std::vector<app::Option> options_of(Request& request) {
  std::vector<app::Option> options = app::source_options(request.source);
  options.front().help = "sweep file, or its name in configs/ablations";
  options.push_back(
      app::text("--size", "NAME", "which of the sweep's sizes (its own `size`)", request.size));
  for (const auto& group : {run_options(request), place_options(request)}) {
    options.insert(options.end(), group.begin(), group.end());
  }
  return options;
}

/// The sweep's file: a path, or a bare name of one in configs/ablations.
std::string find_sweep(const std::string& name) {
  if (name.empty()) {
    throw core::InputError("--config is missing; for example --config attention_dense");
  }
  return config::find_json(name, {}, "configs/ablations", "--config", "sweep").string();
}

/// The command that reports: by default the script, by the Python that has what it needs.
std::vector<std::string> report_of(const Request& request) {
  if (request.no_report) return {};
  if (!request.report.empty()) return {request.report};
  return {"bash", "-c",
          "python=$(\"$0/plot_python.sh\") && exec \"$python\" \"$0/ablation_report.py\" \"$1\"",
          config::locate("scripts").string()};
}

/// The GPUs that --gpus names.
std::vector<std::string> gpus_of(const std::string& list) {
  std::vector<std::string> gpus = config::split_list(list);
  for (const std::string& gpu : gpus) {
    const bool number = gpu.find_first_not_of("0123456789") == std::string::npos;
    if (!gpu.empty() && (number || gpu.starts_with("GPU-") || gpu.starts_with("MIG-"))) continue;
    throw core::InputError("--gpus " + list + ": \"" + gpu +
                           "\": expected numbers, such as 0,1, or UUIDs of nvidia-smi -L");
  }
  return gpus;
}

/// A program of a path must be there; a bare name is looked up by the system.
void require_program(const std::string& path) {
  if (path.find('/') == std::string::npos || ::access(path.c_str(), X_OK) == 0) return;
  throw core::InputError("--train " + path + ": " + std::strerror(errno) +
                         "; expected a program, such as build/bin/train");
}

/// run.device of every cell; by default that of the sweep.
config::Device device_of(const std::string& word, config::Config config) {
  if (word.empty()) return config.run.device;
  try {
    config::parse_override(config, "run.device=" + word);
  } catch (const core::InputError&) {
    throw core::InputError("--device " + word + ": expected auto, cpu or cuda");
  }
  return config.run.device;
}

/// Fills in what the command line leaves open. `device` is the cells' run.device.
ablate::RunOptions complete(const Request& request, config::Device device) {
  ablate::RunOptions run = request.run;
  // What another program can use is not known here.
  if (run.train.empty() && !train::finds_gpu()) {
    run.no_gpu =
        "there is no GPU that this build can use; build for one (scripts/build.sh cuda) and start "
        "build-cuda/bin/ablate, or leave out --gpus and pass --device cpu";
  }
  if (!request.gpus.empty()) {
    run.gpus = gpus_of(request.gpus);
  } else if (device != config::Device::cpu && run.no_gpu.empty()) {
    run.gpus = ablate::visible_gpus();
  }
  run.cores = ablate::usable_cores();
  require_program(run.train);
  if (run.train.empty()) run.train = ablate::beside_this_program("train");
  run.report = report_of(request);
  const bool on_gpu = !run.gpus.empty() || device == config::Device::cuda;
  run.flops_per_second = request.flops_per_second;
  if (run.flops_per_second == 0) {
    run.flops_per_second = on_gpu ? 2e14 : 2e10 * static_cast<double>(run.cores);
  }
  return run;
}

void run(int argc, char** argv) {
  Request request;
  if (!app::parse_arguments(argc, argv, "./ablate --config NAME", options_of(request))) return;
  core::Log log(0);
  if (!request.report_only.empty()) {
    return ablate::write_report(request.report_only, report_of(request), log);
  }
  const std::string path = find_sweep(request.source.name);
  ablate::Sweep sweep = ablate::read_sweep(core::read_file(path), path, request.size);
  if (!request.out.empty()) sweep.out = request.out;
  const std::string known = "data/results/" + sweep.name;
  if (!request.results.empty()) sweep.results = request.results;
  if (sweep.results.empty() && (request.run.publish || fs::exists(known))) sweep.results = known;
  std::vector<ablate::Variant> variants = ablate::expand(
      sweep, {.overrides = request.source.overrides, .vocab_of = [](const std::string& name) {
                return std::int64_t{input::make_tokenizer(name)->vocab_size()};
              }});
  const config::Device device = device_of(request.run.device, variants.front().config);
  ablate::SweepRun sweep_run(sweep, std::move(variants), complete(request, device), log);
  request.dry_run ? sweep_run.preview() : sweep_run.run();
}

}  // namespace

int main(int argc, char** argv) {
  return strait::app::guarded("ablate", [&] { run(argc, argv); });
}
