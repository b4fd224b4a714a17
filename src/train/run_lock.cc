#include "train/run_lock.h"

#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <sstream>
#include <thread>

#include "core/error.h"
#include "core/host_name.h"

namespace strait::train {
namespace {

using Clock = std::chrono::steady_clock;
using parallel::together;

constexpr std::chrono::milliseconds kBetween{200};
constexpr std::size_t kNamed = 4;

std::string line_of_this(int rank) {
  return std::to_string(::getpid()) + " " + std::to_string(rank) + " " + core::host_name();
}

/// "rank 2 (process 4711 on node1)" for those of the lines whose process may be alive.
std::string holders(const std::vector<std::string>& lines) {
  std::string text;
  std::size_t count = 0;
  for (const std::string& line : lines) {
    std::istringstream words(line);
    pid_t process = 0;
    std::string rank, host;
    if (!(words >> process >> rank >> host)) continue;
    if (host == core::host_name() && ::kill(process, 0) != 0 && errno == ESRCH) continue;
    if (++count > kNamed) continue;
    text += (count > 1 ? ", " : "") + std::string("rank ") + rank + " (process " +
            std::to_string(process) + " on " + host + ")";
  }
  if (count > kNamed) text += " and " + std::to_string(count - kNamed) + " more";
  return text.empty() ? "a process that left no name" : text;
}

[[noreturn]] void refuse(const RunFolder& folder, const std::string& others) {
  throw core::InputError("run.dir = \"" + folder.path.string() +
                         "\": another run is still going on in it: " + others +
                         "; wait for its end, end it, or choose another folder");
}

}  // namespace

RunLock::RunLock(const RunFolder& folder, parallel::Communicator& world,
                 std::chrono::seconds patience, core::Log& log)
    : rank_(world.rank()) {
  const std::filesystem::path path = folder.path / "run.lock";
  together(world, [&] {
    if (rank_ != 0) return;
    make_run_folder(folder);
    try {
      file_ = std::make_unique<core::FileLock>(path);
    } catch (const core::RuntimeFault& fault) {
      refuse_folder(folder, fault.what());
    }
    take_alone(folder, patience, log);
    file_->clear_lines();
    share(folder);
    if (file_->unsupported().empty()) return;
    log.warn(path.string() + ": cannot be locked (" + file_->unsupported() +
             "); see to it that no other run writes to this folder");
  });
  together(world, [&] {
    if (rank_ == 0) return;
    file_ = std::make_unique<core::FileLock>(path);
    share(folder);
  });
}

void RunLock::take_alone(const RunFolder& folder, std::chrono::seconds patience, core::Log& log) {
  const Clock::time_point until = Clock::now() + patience;
  for (bool asked = false; !file_->try_alone(); asked = true) {
    const std::string others = holders(file_->lines());
    if (Clock::now() >= until) refuse(folder, others);
    if (!asked) {
      log.info("waits for another run in " + folder.path.string() + " to end: " + others);
    }
    std::this_thread::sleep_for(kBetween);
  }
}

void RunLock::share(const RunFolder& folder) {
  if (!file_->try_shared()) refuse(folder, holders(file_->lines()));
  file_->add_line(line_of_this(rank_));
}

}  // namespace strait::train
