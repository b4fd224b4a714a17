#include <cstdio>

#include "app/support/program.h"
#include "core/error.h"
#include "parallel/comm_mpi.h"
#include "train/session.h"

namespace {

using namespace strait;

struct Request {
  train::TrainOptions options;
  bool help = false;
  bool help_config = false;
};

std::vector<app::Option> options_of(Request& request) {
  std::vector<app::Option> options = app::source_options(request.options.source);
  options.push_back({.name = "--resume",
                     .value = "DIR",
                     .value_optional = true,
                     .help =
                         "go on with the run in DIR (default: run.dir); \"auto\": the newest run "
                         "of this config, or a new one",
                     .take = [&](const std::string& dir) {
                       request.options.resume = {.asked = true, .dir = dir};
                     }});
  options.push_back({.name = "--profile",
                     .value = "steps=A:B",
                     .help = "time every launch of steps A to B into profile.json and a table, and "
                             "open the window of an attached Nsight profiler for them",
                     .take = [&](const std::string& steps) {
                       request.options.profile = train::parse_profile(steps);
                     }});
  options.push_back({.name = "--eval-only",
                     .help =
                         "evaluate the run of --resume, or init.from, as the eval section says; "
                         "train nothing",
                     .take = [&](const std::string&) { request.options.eval_only = true; }});
  options.push_back(
      {.name = "--verify-resume",
       .value = "N",
       .help = "train 2N steps, and N steps, a checkpoint and N more, compare the bits",
       .take = [&](const std::string& steps) {
         request.options.verify_resume = app::count("--verify-resume", steps, 1);
       }});
  options.push_back({.name = "--dry-run",
                     .help = "print the resolved config and the memory plan, train nothing",
                     .take = [&](const std::string&) { request.options.dry_run = true; }});
  options.push_back(
      {.name = "--tune",
       .value = "DIR",
       .value_optional = true,
       .help = "measure algorithms for this config's matrix products on the GPU, write them to "
               "DIR (default: kernels/cuda/gemm_table), train nothing",
       .take = [&](const std::string& folder) {
         request.options.tune = folder.empty() ? "kernels/cuda/gemm_table" : folder;
       }});
  options.push_back({.name = "--help-config",
                     .help = "list every config key with default, unit and meaning",
                     .take = [&](const std::string&) { request.help_config = true; }});
  options.push_back({.name = "--help", .help = "this text", .take = [&](const std::string&) {
                       request.help = true;
                     }});
  return options;
}

void run(int argc, char** argv, parallel::Communicator& world) {
  Request request;
  const std::vector<app::Option> options = options_of(request);
  together(world, [&] { app::parse_arguments(argc, argv, options); });
  if (request.help || request.help_config) {
    if (world.rank() != 0) return;
    const std::string text = request.help
                                 ? app::usage("mpirun -n RANKS ./train --config NAME", options)
                                 : config::help_text();
    std::fputs(text.c_str(), stdout);
    return;
  }
  together(world, [&] {
    const train::ResumeRequest& resume = request.options.resume;
    const bool from_run = resume.asked && !resume.dir.empty() && resume.dir != "auto";
    if (request.options.source.name.empty() && !from_run) {
      throw core::InputError("--config is missing; for example --config quickstart.json");
    }
  });
  train::train(request.options, world);
}

}  // namespace

int main(int argc, char** argv) {
  parallel::MpiSession mpi(&argc, &argv);
  return app::guarded(
      "train", [&] { run(argc, argv, mpi.world()); },
      [&](int code) {
        // The other ranks wait in a collective: end them all.
        if (mpi.world().size() > 1) mpi.abort(code);
      });
}
