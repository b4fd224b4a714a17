#pragma once

#include "config/load.h"
#include "parallel/communicator.h"
#include "train/profile.h"
#include "train/run_folder.h"

namespace strait::train {

/// What the command line of ./train asks for.
struct TrainOptions {
  config::Source source;  // name empty: the config of the run that is resumed
  ResumeRequest resume;
  ProfileSteps profile;
  std::int64_t verify_resume = 0;  // steps of each half; 0: no, train as asked
  bool eval_only = false;          // evaluate the weights of `resume` or init.from, train nothing
  bool dry_run = false;            // print the resolved config and the plan, train nothing
  std::string tune;  // folder for the table of measured GEMM algorithms; train nothing
};

/// One rank of a training run from options to the end. Throws parallel::AgreedFailure where all
/// ranks know, else InputError or RuntimeFault: then the caller must end the other ranks.
void train(const TrainOptions& options, parallel::Communicator& world);

}  // namespace strait::train
