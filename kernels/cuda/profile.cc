#include "kernels/cuda/profile.h"

#include <cuda_profiler_api.h>
#include <nvtx3/nvToolsExt.h>

#include "kernels/cuda/context.h"

namespace strait::kernels::cuda {

void push_range(const char* name) {
  nvtxRangePushA(name);
}

void pop_range() noexcept {
  nvtxRangePop();
}

void open_profile_window() {
  check_cuda(cudaProfilerStart(), "cudaProfilerStart");
}

void close_profile_window() {
  check_cuda(cudaProfilerStop(), "cudaProfilerStop");
}

void* mark_time(const Stream& stream) {
  cudaEvent_t event = nullptr;
  check_cuda(cudaEventCreate(&event), "cudaEventCreate");
  check_cuda(cudaEventRecord(event, handle_of(stream)), "cudaEventRecord");
  return event;
}

void release_mark(void* event) noexcept {
  cudaEventDestroy(static_cast<cudaEvent_t>(event));
}

double seconds_between(void* from, void* to) {
  float milliseconds = 0;
  check_cuda(cudaEventSynchronize(static_cast<cudaEvent_t>(to)),
             "seconds_between: the work before it failed");
  check_cuda(cudaEventElapsedTime(&milliseconds, static_cast<cudaEvent_t>(from),
                                  static_cast<cudaEvent_t>(to)),
             "cudaEventElapsedTime");
  return 1e-3 * static_cast<double>(milliseconds);
}

}  // namespace strait::kernels::cuda
