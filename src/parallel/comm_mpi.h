#pragma once

#include <memory>

#include "parallel/communicator.h"

namespace strait::parallel {

/// MPI for the life of a program. Construct one in main before any communicator; started without
/// mpirun it is a world of one. Finalises on destruction.
class MpiSession {
 public:
  MpiSession(int* argc, char*** argv);
  ~MpiSession();
  MpiSession(const MpiSession&) = delete;
  MpiSession& operator=(const MpiSession&) = delete;

  /// All ranks of the job.
  Communicator& world() { return *world_; }
  /// Ends every rank of the job with `exit_code`, for faults after which ranks cannot agree.
  [[noreturn]] void abort(int exit_code);

 private:
  std::unique_ptr<Communicator> world_;
};

}  // namespace strait::parallel
