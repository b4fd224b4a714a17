#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "ablate/cell.h"

namespace strait::ablate {

/// What is known of a cell that ended; cell.json holds it.
struct CellResult {
  bool done = false;  // trained to the last step and evaluated there
  int exit_code = 0;
  int attempts = 1;
  std::string error = {};  // of a failed run: what is wrong with it, or the last line it wrote
  double wall_s = 0;       // of the process
  std::int64_t jobs_per_gpu = 1;
  std::string started = {}, ended = {};  // UTC
  std::string hash = {};
  double val_loss = 0;  // nats
  double val_bpb = 0;
  double tok_s = 0;    // median over the steps after the first tenth
  JsonTree file = {};  // the whole of cell.json
};

/// Reads what the run in `folder` left (metrics.jsonl, provenance.json) into a result; `done` says
/// whether it reached its end.
CellResult read_run(const std::filesystem::path& folder, const Cell& cell);

/// Writes cell.json of `result`, with what the run and its counts say besides.
void write_cell(const std::filesystem::path& folder, const Cell& cell, CellResult& result);

/// cell.json of a folder; nothing when there is none. Throws InputError when it cannot be read.
std::optional<CellResult> read_cell(const std::filesystem::path& folder);

/// Copies cell.json and metrics.jsonl, of which at most `lines` step lines beside all events, from
/// a finished cell to another folder.
void copy_slim(const std::filesystem::path& from, const std::filesystem::path& to,
               std::size_t lines);

/// UTC now, "2026-11-26T09:40:01Z", or `seconds` later.
std::string utc_time(double seconds = 0);

}  // namespace strait::ablate
