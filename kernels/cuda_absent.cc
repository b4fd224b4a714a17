#include "kernels/check.h"
#include "kernels/cuda/async.h"
#include "kernels/cuda/device_info.h"
#include "kernels/cuda/memory.h"
#include "kernels/cuda/peer.h"
#include "kernels/cuda/profile.h"

// Stands in for the CUDA backend in a build without it, where no stream is on cuda: what a program
// may still ask for throws, what it may call in passing does nothing.
namespace strait::kernels::cuda {
namespace {

[[noreturn]] void absent() {
  throw OpError("memory: built without CUDA; set run.device to cpu or configure with CUDA");
}

}  // namespace

bool available() noexcept {
  return false;
}

int device_count() noexcept {
  return 0;
}

void use_device(int) {
  absent();
}

void* allocate(std::size_t) {
  absent();
}

void release(void*) noexcept {}

void copy_to_device(void*, const void*, std::size_t, const Stream&) {
  absent();
}

void copy_to_host(void*, const void*, std::size_t, const Stream&) {
  absent();
}

void copy_on_device(void*, const void*, std::size_t, const Stream&) {
  absent();
}

void synchronise(const Stream&) {
  absent();
}

void reserve_workspace(const Stream&, std::size_t) {}

void* make_stream(bool) {
  return nullptr;
}

void destroy_stream(void*) noexcept {}

void* make_event() {
  return nullptr;
}

void destroy_event(void*) noexcept {}

void record_event(void*, const Stream&) {}

void hold_stream(const Stream&, void*) {}

void hold_stream_from_outside(const Stream&, void*) {}

void wait_event(void*) {}

void* allocate_host(std::size_t) {
  return nullptr;
}

void release_host(void*) noexcept {}

void* capture_graph(const Stream&, const std::function<void()>&) {
  return nullptr;
}

void launch_graph(void*, const Stream&) {}

void destroy_graph(void*) noexcept {}

std::string export_block(void*) noexcept {
  return {};
}

void* open_block(const std::string&) noexcept {
  return nullptr;
}

void close_block(void*) noexcept {}

void await_flag(void*, const Stream&) {}

DeviceInfo device_info() {
  return {};
}

DeviceStatus device_status() {
  return {};
}

void push_range(const char*) {}

void pop_range() noexcept {}

void open_profile_window() {}

void close_profile_window() {}

void* mark_time(const Stream&) {
  return nullptr;
}

void release_mark(void*) noexcept {}

double seconds_between(void*, void*) {
  return 0;
}

}  // namespace strait::kernels::cuda
