#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "ablate/run_options.h"
#include "ablate/runner.h"
#include "ablate/sweep_file.h"

namespace strait::ablate {

/// Judges what a sweep's folder holds (results.h), prints the verdicts and starts the command of
/// the report with the folder; empty: none. Throws RuntimeFault when that fails.
void write_report(const std::filesystem::path& folder, const std::vector<std::string>& command,
                  core::Log& log);

/// A sweep from its first cell to its report. Stages follow each other: rates (budgets in seconds),
/// tuning, the cells of the comparison; each is skipped where nothing is left to do.
class SweepRun {
 public:
  /// Matches the variants. Borrows the sweep and the log.
  SweepRun(const Sweep& sweep, std::vector<Variant> variants, RunOptions options, core::Log& log);

  /// Prints variants and expected cost; starts and writes nothing.
  void preview();
  /// Runs what is left, in the sweep's folder, which it locks. A stop signal or the time limit end
  /// it early, without fault; started again it goes on. Throws RuntimeFault at the end when cells
  /// failed for good, or the report did.
  void run();

 private:
  std::vector<Solved> solved() const;
  /// Refuses names in options.only that are no variant, budget or seed.
  void check_only() const;
  bool wanted(const Cell& cell) const;
  std::vector<Cell> only_wanted(std::vector<Cell> cells) const;
  std::vector<double> rates(const std::vector<Cell>& cells) const;
  void choose_tuned(const std::vector<Cell>& cells);
  bool ready(const std::string& variant) const;
  void write_file(const std::vector<Cell>& cells) const;
  void publish_file() const;
  void summarise(const std::vector<Cell>& cells) const;
  void finish(const std::vector<Cell>& cells) const;

  const Sweep& sweep_;
  RunOptions options_;
  core::Log& log_;
  std::filesystem::path folder_;
  std::vector<Entry> entries_;
  Runner runner_;
};

}  // namespace strait::ablate
