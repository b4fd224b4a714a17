#include "parallel/lane.h"

namespace strait::parallel {

const Stream& Lane::begin(const Stream& stream) {
  begun_.record(stream);
  begun_.hold(own_.get());
  return own_.get();
}

void Lane::end() {
  done_.record(own_.get());
  under_way_ = true;
}

void Lane::await(const Stream& stream, const CommClock& clock) {
  if (!under_way_) return;
  clock.enter(stream);
  done_.hold(stream);
  clock.leave(stream);
  under_way_ = false;
}

}  // namespace strait::parallel
