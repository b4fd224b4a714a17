#pragma once

#include <stdexcept>

namespace strait::core {

/// Exit codes every program agrees on.
enum ExitCode : int { kOk = 0, kCheckFailed = 1, kBadInput = 2, kRuntimeFault = 3 };

/// Bad input or configuration: one message with path, value, expectation and remedy. Exit code 2.
class InputError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Something went wrong that the user's input did not cause (disk full, lost rank). Exit code 3.
class RuntimeFault : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// What was checked does not hold, though nothing went wrong in checking it. Exit code 1.
class CheckFailed : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace strait::core
