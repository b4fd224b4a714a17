#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace strait::ablate {

/// How the cells of a sweep run; nothing here changes what comes out.
struct RunOptions {
  std::string train = {};                // the program; empty: beside this one
  std::string device = {};               // run.device of every cell; empty: as configured
  std::vector<std::string> gpus = {};    // by the names CUDA_VISIBLE_DEVICES takes; empty: none
  std::string no_gpu = {};               // why cells cannot use a GPU here; empty: they can
  std::int64_t jobs = 1;                 // cells at a time on each GPU, or on the CPU
  std::int64_t ranks = 1;                // of each cell; more than one start under mpirun
  std::int64_t cores = 1;                // of this machine, shared out among the cells
  std::vector<std::string> only = {};    // as "mha/60m/seed1", "seed2"; empty: all
  double time_limit_s = 0;               // start nothing that would end later; 0: none
  double flops_per_second = 2e14;        // of a GPU, or of the CPU, before a cell has been measured
  std::vector<std::string> report = {};  // command; the sweep's folder is added; empty: none
  bool publish = false;                  // copy finished cells to the results folder
};

}  // namespace strait::ablate
