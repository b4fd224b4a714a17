#pragma once

#include "kernels/async.h"
#include "parallel/comm_clock.h"

namespace strait::parallel {

/// A stream beside the model's, for collectives of its layers; they run in the order they begin.
class Lane {
 public:
  explicit Lane(Device device)
      : own_(kernels::OwnedStream::urgent(device)), begun_(device), done_(device) {}

  /// Begins behind what `stream` holds so far; returns where the collective goes.
  const Stream& begin(const Stream& stream);
  void end();
  /// `stream` goes on when all that began is done; by the clock. At once when nothing is under way.
  void await(const Stream& stream, const CommClock& clock);

 private:
  kernels::OwnedStream own_;
  kernels::Event begun_, done_;
  bool under_way_ = false;
};

}  // namespace strait::parallel
