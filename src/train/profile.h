#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "kernels/profile.h"
#include "kernels/stream.h"

namespace strait::train {

/// Steps to look at closely: --profile steps=A:B, both included.
struct ProfileSteps {
  std::int64_t first = 0;  // 0: none
  std::int64_t last = 0;
  bool covers(std::int64_t step) const { return first > 0 && step >= first && step <= last; }
};

/// Reads "steps=A:B" (or "steps=A"). Throws InputError.
ProfileSteps parse_profile(const std::string& text);

/// Throws InputError when a run of `steps` steps, of which `done` are behind it, will train none of
/// those to profile. A run that has nothing left to do is not refused.
void require_profiled(const ProfileSteps& profile, std::int64_t done, std::int64_t steps);

/// Launches of one op on tensors of one size.
struct OpTime {
  std::string op;
  kernels::Work work;  // of one launch
  std::int64_t launches = 0;
  double seconds = 0;  // of all of them
};

/// Times every launch on a stream while attached to it as its observer. A launch lasts until the
/// next one begins, so a host that falls behind is counted to the op before.
class OpTimer final : public kernels::LaunchObserver {
 public:
  explicit OpTimer(const kernels::Stream& stream) : watch_(stream) {}

  void on_launch(const char* op, const kernels::Work& work) override;
  /// Ends the last launch and waits for it.
  void stop();
  /// By op and size, the longest first. Precondition: stopped.
  std::vector<OpTime> table() const;

 private:
  struct Launch {
    const char* op;
    kernels::Work work;
  };
  kernels::Stopwatch watch_;
  std::vector<Launch> launches_;
};

/// Columns of times, shares and rates; bytes and FLOPs as kernels/*.h counts them.
std::string op_table(const std::vector<OpTime>& ops, std::int64_t steps);
/// The same as a JSON file.
void write_op_table(const std::filesystem::path& path, const std::vector<OpTime>& ops,
                    std::int64_t steps);

}  // namespace strait::train
