#include "train/run_folder.h"

#include <chrono>
#include <ctime>

#include "core/build_info.h"
#include "core/error.h"
#include "core/files.h"
#include "core/host_name.h"
#include "io/checkpoint_folder.h"
#include "io/json_lines.h"

namespace strait::train {
namespace {

namespace fs = std::filesystem;

const fs::path kRuns = "runs";

std::string utc_time(const char* format) {
  const std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  std::tm utc{};
  ::gmtime_r(&now, &utc);
  char text[64];
  std::strftime(text, sizeof text, format, &utc);
  return text;
}

/// Newest runs/<name>-<time>; empty when there is none. The time sorts as text.
fs::path newest_run(const std::string& name) {
  fs::path newest;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(kRuns, ignored)) {
    const std::string file = entry.path().filename().string();
    if (!file.starts_with(name + "-2") || !holds_run(entry.path())) continue;
    if (newest.empty() || newest.filename().string() < file) newest = entry.path();
  }
  return newest;
}

fs::path fresh_path(const std::string& name) {
  const fs::path base = kRuns / (name + "-" + utc_time("%Y%m%dT%H%M%SZ"));
  fs::path path = base;
  for (int i = 2; fs::exists(path); ++i) path = base.string() + "." + std::to_string(i);
  return path;
}

void require_no_run(const fs::path& folder) {
  if (!holds_run(folder)) return;
  throw core::InputError("run.dir = \"" + folder.string() +
                         "\": already holds a run; pass --resume to go on with it, or choose "
                         "another folder");
}

fs::path resumed_path(const config::Run& run, const std::string& asked) {
  if (!asked.empty() && asked != "auto") return asked;
  if (!run.dir.empty()) return run.dir;
  return newest_run(run.name);
}

void make_folder(const fs::path& path, const RunFolder& folder) {
  std::error_code failed;
  fs::create_directories(path, failed);
  if (failed) refuse_folder(folder, failed.message());
}

void write_provenance(const RunFolder& folder, int ranks, const kernels::DeviceInfo& device) {
  io::JsonLine provenance;
  provenance.add("revision", core::revision())
      .add("build", core::build_flags())
      .add("device", device.name);
  if (!device.driver.empty()) provenance.add("driver", device.driver);
  if (!device.runtime.empty()) provenance.add("cuda", device.runtime);
  provenance.add("host", core::host_name())
      .add("ranks", ranks)
      .add("started", utc_time("%Y-%m-%dT%H:%M:%SZ"))
      .add("resumed", folder.resumes);
  const std::string name =
      folder.resumes ? "provenance-" + utc_time("%Y%m%dT%H%M%SZ") + ".json" : "provenance.json";
  io::write_json_file(folder.path / name, provenance);
}

}  // namespace

bool holds_run(const fs::path& folder) {
  std::error_code unseen;  // a folder that may not be looked into holds none for this user
  return fs::exists(folder / "config.json", unseen) ||
         fs::exists(folder / "metrics.jsonl", unseen) ||
         !io::list_step_folders(folder / "checkpoints").empty();
}

void refuse_folder(const RunFolder& folder, const std::string& why) {
  throw core::InputError("run.dir = \"" + folder.path.string() + "\": cannot be written (" + why +
                         "); choose a folder you may write to with --set run.dir=");
}

void refuse_resume(const std::string& folder) {
  const fs::path path = fs::absolute(folder).lexically_normal();
  for (const fs::path& above : {path.parent_path(), path.parent_path().parent_path()}) {
    if (!holds_run(above)) continue;
    throw core::InputError("--resume " + folder + ": is a part of a run; name its folder, " +
                           above.string());
  }
  throw core::InputError("--resume " + folder +
                         ": holds no run (no config.json); name a run folder, or use --resume auto "
                         "to start one when there is none");
}

RunFolder choose_run_folder(const config::Run& run, const ResumeRequest& resume) {
  if (resume.asked) {
    const fs::path path = resumed_path(run, resume.dir);
    if (!path.empty() && holds_run(path)) return {path, true};
    if (resume.dir != "auto" && path.empty()) {
      throw core::InputError("--resume: names no run, run.dir is empty and runs/ holds none of \"" +
                             run.name + "\"; name a folder, or use --resume auto to start one");
    }
    if (resume.dir != "auto") refuse_resume(path.string());
  }
  if (run.dir.empty()) return {fresh_path(run.name), false};
  require_no_run(run.dir);
  return {run.dir, false};
}

void make_run_folder(const RunFolder& folder) {
  make_folder(folder.checkpoints(), folder);
  make_folder(folder.path / "plots", folder);
}

void prepare_run_folder(const RunFolder& folder, const std::string& config_json, int ranks,
                        const kernels::DeviceInfo& device) {
  if (!folder.resumes) require_no_run(folder.path);
  keep_config(folder, config_json);
  write_provenance(folder, ranks, device);
}

void keep_config(const RunFolder& folder, const std::string& config_json) {
  const fs::path path = folder.path / "config.json";
  std::error_code unknown;
  if (fs::exists(path, unknown)) return;
  core::write_file_atomically(path, [&](std::ostream& out) { out << config_json; });
}

void add_provenance_event(const RunFolder& folder, const std::string& name, std::int64_t step,
                          const std::string& detail) {
  try {
    const fs::path path = folder.path / "provenance-events.jsonl";
    const auto bytes = fs::exists(path) ? static_cast<std::int64_t>(fs::file_size(path)) : 0;
    io::JsonLinesWriter(path, bytes)
        .write(io::JsonLine()
                   .add("event", name)
                   .add("step", step)
                   .add("time", utc_time("%Y-%m-%dT%H:%M:%SZ"))
                   .add("detail", detail));
  } catch (const std::exception&) {
    // metrics.jsonl and the log have it, too.
  }
}

}  // namespace strait::train
