#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "ablate/match.h"

namespace strait::ablate {

/// What a cell is for: measuring a variant's rate, tuning it, or the comparison itself.
enum class Stage { rate, tune, main };

/// One run of `train`.
struct Cell {
  Stage stage = Stage::main;
  std::string variant;
  std::string budget;  // its name; of a tuning run: the index of the value; of a rate: empty
  std::int64_t seed = 0;
  std::filesystem::path path;  // below the sweep's folder: "cells/mha/60m/seed1"
  config::Config config;       // run.dir is left out
  std::string hash;            // of the keys that decide the result
  double train_flops = 0;      // of the whole run

  std::string name() const { return path.string(); }
  double tokens() const;
};

/// The keys that decide what a run computes, as "path=value" lines, those at their default left
/// out: keys that are added later change nothing. Where and how a run goes (run.dir, run.name,
/// run.device, checkpoint.*, parallel.*, train.micro_batch, recompute and log_every) and how often
/// it is looked at (eval.every, probe_every and sample_tokens) are left out.
std::string identity(const config::Config& config);

/// The lines of one identity that the other does not have, for messages.
std::string difference(const std::string& before, const std::string& now);

// Cells in the order in which they start. Learning rates and steps are the variants' own, so that
// tuned ones come in as part of `variants`.

/// Of every variant a short run, for budgets in seconds.
std::vector<Cell> rate_cells(const Sweep& sweep, const std::vector<Solved>& variants);
/// Of every variant each value of sweep.tune for each of its seeds. Warm-up takes at most a tenth.
std::vector<Cell> tune_cells(const Sweep& sweep, const std::vector<Solved>& variants);
/// Smaller budgets first, then seeds, then variants, so that what is there first can be compared.
/// `rates`: tokens per second of each variant, for budgets in seconds alone.
std::vector<Cell> main_cells(const Sweep& sweep, const std::vector<Solved>& variants,
                             const std::vector<double>& rates);

}  // namespace strait::ablate
