#pragma once

#include <cstddef>
#include <functional>

#include "kernels/stream.h"

// What stands behind kernels/async.h and kernels/graph.h. Handles are those of the runtime.
namespace strait::kernels::cuda {

/// `urgent`: its launches go before those of other streams.
void* make_stream(bool urgent);
void destroy_stream(void* stream) noexcept;

void* make_event();
void destroy_event(void* event) noexcept;
void record_event(void* event, const Stream& stream);
void hold_stream(const Stream& stream, void* event);
/// The event was recorded outside of the capture that `stream` may be in.
void hold_stream_from_outside(const Stream& stream, void* event);
void wait_event(void* event);

/// Page-locked.
void* allocate_host(std::size_t bytes);
void release_host(void* pointer) noexcept;

/// Captures what `enqueue` enqueues on `stream` and makes it ready to launch.
void* capture_graph(const Stream& stream, const std::function<void()>& enqueue);
void launch_graph(void* graph, const Stream& stream);
void destroy_graph(void* graph) noexcept;

}  // namespace strait::kernels::cuda
