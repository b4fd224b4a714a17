#pragma once

#include <chrono>
#include <memory>

#include "core/file_lock.h"
#include "core/log.h"
#include "parallel/communicator.h"
#include "train/run_folder.h"

namespace strait::train {

/// Keeps other runs out of a run's folder for as long as any rank of this one lives: ranks whose
/// launcher was killed may go on for some time, and would write beside a run that resumes. Every
/// rank shares a lock on <run>/run.lock, which rank 0 first takes alone.
class RunLock {
 public:
  /// Makes the folder if it is not there and waits up to `patience` for another run in it to end.
  /// Collective. Throws AgreedFailure with an InputError that names the processes in the way, or
  /// says that the folder cannot be written.
  RunLock(const RunFolder& folder, parallel::Communicator& world, std::chrono::seconds patience,
          core::Log& log);

 private:
  void take_alone(const RunFolder& folder, std::chrono::seconds patience, core::Log& log);
  void share(const RunFolder& folder);

  int rank_;
  std::unique_ptr<core::FileLock> file_;
};

}  // namespace strait::train
