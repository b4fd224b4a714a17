#include "kernels/async.h"

#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

#include "kernels/cuda/async.h"
#include "kernels/graph.h"

namespace strait::kernels {
namespace {

bool on_gpu(Device device) {
  return device == Device::cuda;
}

}  // namespace

OwnedStream::OwnedStream(Device device) : OwnedStream(device, false) {}

OwnedStream::OwnedStream(Device device, bool urgent) : stream_{.device = device} {
  if (on_gpu(device)) stream_.handle = cuda::make_stream(urgent);
}

OwnedStream OwnedStream::urgent(Device device) {
  return OwnedStream(device, true);
}

OwnedStream::~OwnedStream() {
  if (stream_.handle) cuda::destroy_stream(stream_.handle);
}

OwnedStream::OwnedStream(OwnedStream&& other) noexcept
    : stream_(std::exchange(other.stream_, Stream{})) {}

OwnedStream& OwnedStream::operator=(OwnedStream&& other) noexcept {
  std::swap(stream_, other.stream_);
  return *this;
}

Event::Event(Device device) : device_(device) {
  if (on_gpu(device)) handle_ = cuda::make_event();
}

Event::~Event() {
  if (handle_) cuda::destroy_event(handle_);
}

void Event::record(const Stream& stream) const {
  if (on_gpu(device_)) cuda::record_event(handle_, stream);
}

void Event::hold(const Stream& stream) const {
  if (on_gpu(device_)) cuda::hold_stream(stream, handle_);
}

void Event::hold_from_outside(const Stream& stream) const {
  if (on_gpu(device_)) cuda::hold_stream_from_outside(stream, handle_);
}

void Event::wait() const {
  if (on_gpu(device_)) cuda::wait_event(handle_);
}

HostBuffer::HostBuffer(Device device, std::size_t bytes)
    : device_(device),
      bytes_(bytes),
      data_(on_gpu(device) ? cuda::allocate_host(bytes) : std::malloc(bytes == 0 ? 1 : bytes)) {
  if (!data_) throw std::bad_alloc();
  std::memset(data_, 0, bytes);
}

HostBuffer::~HostBuffer() {
  if (!data_) return;
  if (on_gpu(device_)) {
    cuda::release_host(data_);
  } else {
    std::free(data_);
  }
}

HostBuffer::HostBuffer(HostBuffer&& other) noexcept
    : device_(other.device_), bytes_(other.bytes_), data_(std::exchange(other.data_, nullptr)) {}

HostBuffer& HostBuffer::operator=(HostBuffer&& other) noexcept {
  std::swap(device_, other.device_);
  std::swap(bytes_, other.bytes_);
  std::swap(data_, other.data_);
  return *this;
}

Repeated::~Repeated() {
  if (graph_) cuda::destroy_graph(graph_);
}

void Repeated::run(const Stream& stream, const std::function<void()>& enqueue) {
  if (!on_gpu(stream.device) || stream.observer || !warm_) {
    warm_ = warm_ || on_gpu(stream.device);
    return enqueue();
  }
  if (!graph_) graph_ = cuda::capture_graph(stream, enqueue);
  cuda::launch_graph(graph_, stream);
}

}  // namespace strait::kernels
