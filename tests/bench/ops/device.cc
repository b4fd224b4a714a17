#include "tests/bench/ops/device.h"

#include <cublasLt.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <stdexcept>
#include <vector>

namespace strait::bench {
namespace {

void check(cudaError_t status, const char* what) {
  if (status != cudaSuccess) {
    throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(status));
  }
}

cudaStream_t handle_of(const kernels::Stream& stream) {
  return static_cast<cudaStream_t>(stream.handle);
}

cudaGraphExec_t capture(const std::function<void(int)>& launch, int count, cudaStream_t stream) {
  cudaGraph_t graph = nullptr;
  check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "begin capture");
  for (int i = 0; i < count; ++i) launch(i);
  check(cudaStreamEndCapture(stream, &graph), "end capture");
  cudaGraphExec_t exec = nullptr;
  check(cudaGraphInstantiate(&exec, graph, 0), "instantiate");
  check(cudaGraphDestroy(graph), "destroy graph");
  return exec;
}

}  // namespace

std::size_t l2_bytes() {
  int device = 0, bytes = 0;
  check(cudaGetDevice(&device), "cudaGetDevice");
  check(cudaDeviceGetAttribute(&bytes, cudaDevAttrL2CacheSize, device), "cudaDeviceGetAttribute");
  return static_cast<std::size_t>(bytes);
}

std::string cublaslt_version() {
  return std::to_string(cublasLtGetVersion());
}

kernels::Stream make_stream() {
  cudaStream_t stream = nullptr;
  check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreate");
  return {.device = kernels::Device::cuda, .handle = stream};
}

double median_us(const std::function<void(int)>& launch, int count, int rounds,
                 const kernels::Stream& stream) {
  const cudaStream_t handle = handle_of(stream);
  const cudaGraphExec_t graph = capture(launch, count, handle);
  cudaEvent_t begin = nullptr, end = nullptr;
  check(cudaEventCreate(&begin), "cudaEventCreate");
  check(cudaEventCreate(&end), "cudaEventCreate");
  check(cudaGraphLaunch(graph, handle), "warm up");
  std::vector<double> times;
  for (int round = 0; round < rounds; ++round) {
    check(cudaEventRecord(begin, handle), "cudaEventRecord");
    check(cudaGraphLaunch(graph, handle), "cudaGraphLaunch");
    check(cudaEventRecord(end, handle), "cudaEventRecord");
    check(cudaEventSynchronize(end), "replay");
    float ms = 0;
    check(cudaEventElapsedTime(&ms, begin, end), "cudaEventElapsedTime");
    times.push_back(1e3 * static_cast<double>(ms) / count);
  }
  check(cudaEventDestroy(begin), "cudaEventDestroy");
  check(cudaEventDestroy(end), "cudaEventDestroy");
  check(cudaGraphExecDestroy(graph), "cudaGraphExecDestroy");
  std::ranges::nth_element(times, times.begin() + rounds / 2);
  return times[static_cast<std::size_t>(rounds) / 2];
}

}  // namespace strait::bench
