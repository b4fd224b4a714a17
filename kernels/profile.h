#pragma once

#include <vector>

#include "kernels/stream.h"

// What profilers see and measure. Off cuda ranges and windows do nothing.
namespace strait::kernels {

/// A named range (NVTX) around what this thread enqueues in a scope. Costs nothing worth measuring
/// while no profiler listens. `name` is copied.
class Range {
 public:
  explicit Range(const char* name);
  ~Range();
  Range(const Range&) = delete;
  Range& operator=(const Range&) = delete;
};

/// Opens or closes the window that a profiler started with "capture range: cuda profiler API"
/// records.
void open_profile_window(Device device);
void close_profile_window(Device device);

/// Marks points in the work of a stream and tells the time between neighbours.
class Stopwatch {
 public:
  explicit Stopwatch(const Stream& stream) : stream_(stream) {}
  ~Stopwatch();
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

  void mark();
  /// Waits for the last mark. Seconds between each mark and the one before: one less than marks.
  std::vector<double> seconds() const;

 private:
  Stream stream_;
  std::vector<void*> events_;  // cuda
  std::vector<double> times_;  // elsewhere
};

}  // namespace strait::kernels
