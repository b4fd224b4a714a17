#include "kernels/cuda/async.h"

#include "kernels/cuda/context.h"

namespace strait::kernels::cuda {
namespace {

cudaEvent_t event_of(void* event) {
  return static_cast<cudaEvent_t>(event);
}

cudaGraphExec_t graph_of(void* graph) {
  return static_cast<cudaGraphExec_t>(graph);
}

/// Ends a capture whatever happens; the graph is released with it.
class Capture {
 public:
  explicit Capture(cudaStream_t stream) : stream_(stream) {
    check_cuda(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal),
               "cudaStreamBeginCapture");
  }
  ~Capture() {
    if (capturing_) cudaStreamEndCapture(stream_, &graph_);
    if (graph_) cudaGraphDestroy(graph_);
  }
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;

  cudaGraphExec_t finish() {
    capturing_ = false;
    check_cuda(cudaStreamEndCapture(stream_, &graph_), "cudaStreamEndCapture");
    cudaGraphExec_t ready = nullptr;
    check_cuda(cudaGraphInstantiate(&ready, graph_, 0), "cudaGraphInstantiate");
    return ready;
  }

 private:
  cudaStream_t stream_;
  cudaGraph_t graph_ = nullptr;
  bool capturing_ = true;
};

}  // namespace

void* make_stream(bool urgent) {
  cudaStream_t stream = nullptr;
  int least = 0, most = 0;
  check_cuda(cudaDeviceGetStreamPriorityRange(&least, &most), "cudaDeviceGetStreamPriorityRange");
  // Work on the default stream (allocation, set-up) and on this one keep their order.
  check_cuda(cudaStreamCreateWithPriority(&stream, cudaStreamDefault, urgent ? most : least),
             "cudaStreamCreate");
  return stream;
}

void destroy_stream(void* stream) noexcept {
  cudaStreamSynchronize(static_cast<cudaStream_t>(stream));
  cudaStreamDestroy(static_cast<cudaStream_t>(stream));
}

void* make_event() {
  cudaEvent_t event = nullptr;
  check_cuda(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "cudaEventCreate");
  return event;
}

void destroy_event(void* event) noexcept {
  cudaEventDestroy(event_of(event));
}

void record_event(void* event, const Stream& stream) {
  check_cuda(cudaEventRecord(event_of(event), handle_of(stream)), "cudaEventRecord");
}

void hold_stream(const Stream& stream, void* event) {
  check_cuda(cudaStreamWaitEvent(handle_of(stream), event_of(event)), "cudaStreamWaitEvent");
}

void hold_stream_from_outside(const Stream& stream, void* event) {
  cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
  check_cuda(cudaStreamIsCapturing(handle_of(stream), &capture), "cudaStreamIsCapturing");
  const unsigned flags =
      capture == cudaStreamCaptureStatusNone ? cudaEventWaitDefault : cudaEventWaitExternal;
  check_cuda(cudaStreamWaitEvent(handle_of(stream), event_of(event), flags), "cudaStreamWaitEvent");
}

void wait_event(void* event) {
  check_cuda(cudaEventSynchronize(event_of(event)), "wait: the work before it failed");
}

void* allocate_host(std::size_t bytes) {
  void* pointer = nullptr;
  check_cuda(cudaMallocHost(&pointer, bytes == 0 ? 1 : bytes), "cudaMallocHost");
  return pointer;
}

void release_host(void* pointer) noexcept {
  cudaFreeHost(pointer);
}

void* capture_graph(const Stream& stream, const std::function<void()>& enqueue) {
  Capture capture(handle_of(stream));
  enqueue();
  return capture.finish();
}

void launch_graph(void* graph, const Stream& stream) {
  check_cuda(cudaGraphLaunch(graph_of(graph), handle_of(stream)), "cudaGraphLaunch");
}

void destroy_graph(void* graph) noexcept {
  cudaGraphExecDestroy(graph_of(graph));
}

}  // namespace strait::kernels::cuda
