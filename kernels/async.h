#pragma once

#include <cstddef>

#include "kernels/stream.h"

// Streams, events and page-locked memory of a device: what lets the host run ahead of it. On cpu
// and plan, where every launch is done when it returns, they are there and do nothing.
namespace strait::kernels {

/// A stream of its own. Movable, destroyed with its owner, which synchronises first.
class OwnedStream {
 public:
  explicit OwnedStream(Device device);
  ~OwnedStream();
  OwnedStream(OwnedStream&& other) noexcept;
  OwnedStream& operator=(OwnedStream&& other) noexcept;
  /// One whose launches go before those of other streams when the device has to choose.
  static OwnedStream urgent(Device device);

  const Stream& get() const { return stream_; }

 private:
  OwnedStream(Device device, bool urgent);

  Stream stream_;
};

/// A point in the work of a stream.
class Event {
 public:
  explicit Event(Device device);
  ~Event();
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  /// Moves the point to the end of what is enqueued on `stream` now.
  void record(const Stream& stream) const;
  /// Work enqueued on `stream` from now on waits for the point. At once when never recorded.
  void hold(const Stream& stream) const;
  /// The same where the point was recorded outside of the capture that `stream` may be in: each
  /// run of the graph waits for the newest record.
  void hold_from_outside(const Stream& stream) const;
  /// The host waits for the point. At once when never recorded.
  void wait() const;

 private:
  Device device_;
  void* handle_ = nullptr;
};

/// Host memory that the device copies to and from without stopping the host. Zeroed.
class HostBuffer {
 public:
  HostBuffer(Device device, std::size_t bytes);
  ~HostBuffer();
  HostBuffer(HostBuffer&& other) noexcept;
  HostBuffer& operator=(HostBuffer&& other) noexcept;

  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }
  std::size_t bytes() const { return bytes_; }

 private:
  Device device_;
  std::size_t bytes_;
  void* data_;
};

}  // namespace strait::kernels
