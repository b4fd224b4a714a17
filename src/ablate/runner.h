#pragma once

#include <chrono>
#include <deque>
#include <filesystem>
#include <list>
#include <map>
#include <string>
#include <vector>

#include "ablate/cell.h"
#include "ablate/cell_result.h"
#include "ablate/child.h"
#include "ablate/costs.h"
#include "ablate/run_options.h"
#include "core/log.h"

namespace strait::ablate {

/// Runs cells as processes of their own, several at a time. What is finished in the sweep's folder,
/// or in the folder of results, is never run again; a half-done run goes on from its checkpoint. A
/// cell that fails is tried once more, then left; the others go on.
class Runner {
 public:
  /// Borrows all but the options. `folder` and `results` (empty: none) are of the whole sweep.
  Runner(std::filesystem::path folder, std::filesystem::path results, RunOptions options,
         core::Log& log);

  /// Takes over what is finished already. Throws InputError when the folder holds a cell of another
  /// config at the same place: what differs, what to do.
  void accept(const std::vector<Cell>& cells);

  /// accept(), then runs the rest until all ended, the time limit forbids to begin another, or a
  /// stop signal came (core/stop_signal.h): then the processes are asked to save and end. Throws
  /// InputError, before it begins any, when they want a GPU or data that are not to be had.
  void run(const std::vector<Cell>& cells);

  /// Of a cell that is done or has failed; null otherwise.
  const CellResult* result(const Cell& cell) const;
  const Costs& costs() const { return costs_; }
  bool stopped() const { return stopped_; }
  std::size_t slots() const { return slots_.size(); }
  /// Cells that the time limit kept from starting, and those that failed.
  std::size_t left_out() const { return left_out_; }
  const std::vector<std::string>& failures() const { return failures_; }

 private:
  struct Slot {
    std::string gpus;  // for CUDA_VISIBLE_DEVICES; empty: no GPU
    bool busy = false;
  };
  struct Waiting {
    const Cell* cell;
    int attempt;
  };
  struct Running {
    const Cell* cell;
    int attempt;
    Slot* slot;
    Child child;
    std::string started;
    std::chrono::steady_clock::time_point begin;
    bool resumed;
  };

  void make_slots();
  void accept_one(const Cell& cell);
  void require_device(const Cell& cell) const;
  void require_same(const Cell& cell) const;
  void begin_some(std::deque<Waiting>& waiting);
  bool fits(const Cell& cell) const;
  void begin(const Waiting& waiting, Slot& slot);
  Command command_of(const Cell& cell, const Slot& slot) const;
  void poll(std::deque<Waiting>& waiting);
  /// Whether the cell goes back to be tried again.
  bool end(Running& running, int exit_code);
  void stop_all();

  std::filesystem::path folder_, results_;
  RunOptions options_;
  core::Log& log_;
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  std::list<Slot> slots_;
  std::list<Running> running_;
  std::map<std::string, CellResult> ended_;  // by the cell's path
  Costs costs_;
  bool stopped_ = false;
  std::size_t left_out_ = 0;
  std::size_t to_end_ = 0;  // of the cells that run() was given
  std::vector<std::string> failures_;
};

}  // namespace strait::ablate
