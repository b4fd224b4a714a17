#pragma once

#include <filesystem>
#include <string>

#include "config/config.h"
#include "kernels/device_info.h"

// The folder a run lives in: config.json, provenance.json, metrics.jsonl, log.txt, run.lock,
// checkpoints/, plots/.
namespace strait::train {

/// How the command line asks to go on with an earlier run.
struct ResumeRequest {
  bool asked = false;
  std::string dir;  // "auto": run.dir, else the newest runs/<name>-*; empty: run.dir
};

/// Where the run goes and whether it goes on.
struct RunFolder {
  std::filesystem::path path;
  bool resumes = false;

  std::filesystem::path checkpoints() const { return path / "checkpoints"; }
  std::filesystem::path metrics() const { return path / "metrics.jsonl"; }
  std::filesystem::path log() const { return path / "log.txt"; }
};

/// Picks the folder; called by rank 0 alone. Throws InputError when an explicit run.dir already
/// holds a run and no resume was asked, or when a resume was asked and there is nothing to resume.
RunFolder choose_run_folder(const config::Run& run, const ResumeRequest& resume);

/// Makes the folder and those in it. Called by rank 0. Throws InputError when that cannot be done.
void make_run_folder(const RunFolder& folder);

/// Writes config.json and provenance.json into a folder that was made and locked (RunLock); a
/// resumed run keeps both and adds provenance-<UTC time>.json. Called by rank 0. Throws
/// RuntimeFault when they cannot be written, InputError when another run came first.
void prepare_run_folder(const RunFolder& folder, const std::string& config_json, int ranks,
                        const kernels::DeviceInfo& device);

/// Writes config.json where there is none. Throws RuntimeFault.
void keep_config(const RunFolder& folder, const std::string& config_json);

/// Adds a line to provenance-events.jsonl: what happened to the run, when. Says nothing when the
/// folder refuses.
void add_provenance_event(const RunFolder& folder, const std::string& name, std::int64_t step,
                          const std::string& detail);

/// Throws InputError: the folder cannot be written, for the reason given.
[[noreturn]] void refuse_folder(const RunFolder& folder, const std::string& why);

/// Throws InputError: there is nothing to resume in `folder`.
[[noreturn]] void refuse_resume(const std::string& folder);

/// True when the folder holds a run: its config.json, metrics or a checkpoint.
bool holds_run(const std::filesystem::path& folder);

}  // namespace strait::train
