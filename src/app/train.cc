#include "app/support/program.h"
#include "core/error.h"
#include "parallel/comm_mpi.h"
#include "train/session.h"

namespace {

using namespace strait;

std::vector<app::Option> options_of(train::TrainOptions& options, bool& help_config) {
  std::vector<app::Option> list = app::source_options(options.source);
  list.push_back(
      {.name = "--resume",
       .value = "DIR",
       .value_optional = true,
       .help = "go on with the run in DIR (default: run.dir); \"auto\": the newest run "
               "of this config, or a new one",
       .take = [&](const std::string& dir) { options.resume = {.asked = true, .dir = dir}; }});
  list.push_back(
      {.name = "--profile",
       .value = "steps=A:B",
       .help = "time every launch of steps A to B into profile.json and a table, and "
               "open the window of an attached Nsight profiler for them",
       .take = [&](const std::string& steps) { options.profile = train::parse_profile(steps); }});
  list.push_back(app::flag("--eval-only",
                           "evaluate the run of --resume, or init.from, as the eval section says; "
                           "train nothing",
                           options.eval_only));
  list.push_back(
      app::count("--verify-resume", "N",
                 "train 2N steps, and N steps, a checkpoint and N more, compare the bits",
                 options.verify_resume, 1));
  list.push_back(app::flag("--dry-run",
                           "print the resolved config and the memory plan, train nothing",
                           options.dry_run));
  list.push_back(
      {.name = "--tune",
       .value = "DIR",
       .value_optional = true,
       .help = "measure algorithms for this config's matrix products on the GPU, write them to "
               "DIR (default: kernels/cuda/gemm_table), train nothing",
       .take = [&](const std::string& folder) {
         options.tune = folder.empty() ? "kernels/cuda/gemm_table" : folder;
       }});
  list.push_back(app::flag("--help-config", "list every config key with default, unit and meaning",
                           help_config));
  return list;
}

void run(int argc, char** argv, parallel::Communicator& world) {
  train::TrainOptions options;
  const bool speaks = world.rank() == 0;
  bool help_config = false, goes_on = false;
  together(world, [&] {
    goes_on = app::parse_arguments(argc, argv, "mpirun -n RANKS ./train --config NAME",
                                   options_of(options, help_config), speaks);
  });
  if (!goes_on) return;
  if (help_config) {
    if (speaks) app::print(config::help_text());
    return;
  }
  together(world, [&] {
    const train::ResumeRequest& resume = options.resume;
    const bool from_run = resume.asked && !resume.dir.empty() && resume.dir != "auto";
    if (options.source.name.empty() && !from_run) {
      throw core::InputError("--config is missing; for example --config quickstart.json");
    }
  });
  train::train(options, world);
  // What a dry run shows is all that it is for.
  if (options.dry_run && world.rank() == 0) app::print("");
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
