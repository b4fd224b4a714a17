#include "kernels/cuda/context.h"

#include <algorithm>
#include <string>

#include "kernels/device_error.h"

namespace strait::kernels::cuda {

void check_cuda(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  throw DeviceError(std::string(what) + ": " + cudaGetErrorString(status));
}

std::string device_name() {
  int device = 0;
  cudaDeviceProp properties;
  check_cuda(cudaGetDevice(&device), "cudaGetDevice");
  check_cuda(cudaGetDeviceProperties(&properties, device), "cudaGetDeviceProperties");
  return properties.name;
}

Context& Context::current() {
  struct Contexts {
    std::mutex mutex;
    std::map<int, Context*> of_device;
  };
  static Contexts& contexts = *new Contexts;
  int device = 0;
  check_cuda(cudaGetDevice(&device), "cudaGetDevice");
  const std::lock_guard lock(contexts.mutex);
  Context*& context = contexts.of_device[device];
  if (!context) context = new Context;
  return *context;
}

Context::Context() {
  const cublasStatus_t status = cublasLtCreate(&cublas_);
  if (status != CUBLAS_STATUS_SUCCESS) {
    throw DeviceError(std::string("cublasLtCreate: ") + cublasLtGetStatusString(status));
  }
  table_ = GemmTable::built_in(device_name(), cublasLtGetVersion());
  int device = 0, multiprocessors = 0, major = 0;
  check_cuda(cudaGetDevice(&device), "cudaGetDevice");
  check_cuda(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device),
             "cudaDeviceGetAttribute");
  check_cuda(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device),
             "cudaDeviceGetAttribute");
  multiprocessors_ = static_cast<unsigned>(multiprocessors);
#ifdef STRAIT_SM90A
  hopper_ = major == 9;
#endif
}

void* Context::workspace(const Stream& stream, std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  Workspace& space = workspaces_[handle_of(stream)];
  if (bytes <= space.bytes) return space.data;
  // Doubling bounds what outgrown blocks waste by the size of the last one.
  const std::size_t grown = std::max({bytes, 2 * space.bytes, kWorkspace});
  space.data = grow(stream, grown);
  space.bytes = grown;
  return space.data;
}

void* Context::zeros(const Stream& stream) {
  const std::lock_guard lock(mutex_);
  Workspace& space = workspaces_[handle_of(stream)];
  if (space.zeros) return space.zeros;
  space.zeros = grow(stream, kZeros);
  check_cuda(cudaMemsetAsync(space.zeros, 0, kZeros, handle_of(stream)), "workspace: zeros");
  return space.zeros;
}

void* Context::grow(const Stream& stream, std::size_t bytes) {
  cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
  check_cuda(cudaStreamIsCapturing(handle_of(stream), &capture), "cudaStreamIsCapturing");
  if (capture != cudaStreamCaptureStatusNone) {
    throw DeviceError("workspace: needs " + std::to_string(bytes) +
                      " bytes more and cannot grow in a graph capture; run the step once before " +
                      "capturing");
  }
  void* data = nullptr;
  check_cuda(cudaMalloc(&data, bytes),
             ("workspace: cudaMalloc of " + std::to_string(bytes) + " bytes").c_str());
  return data;
}

GemmPlan& Context::plan(const GemmShape& shape) {
  const std::lock_guard lock(mutex_);
  const auto found = plans_.find(shape);
  if (found != plans_.end()) return found->second;
  return plans_.emplace(shape, GemmPlan(cublas_, shape, kWorkspace, table_)).first->second;
}

std::string Context::gemm_summary() const {
  const std::lock_guard lock(mutex_);
  if (plans_.empty()) return "";
  std::map<GemmOrigin, int> count;
  for (const auto& [shape, plan] : plans_) ++count[plan.origin()];
  std::string out = "algorithms of " + std::to_string(plans_.size()) +
                    " matrix products: " + std::to_string(count[GemmOrigin::table]) +
                    " measured, " + std::to_string(count[GemmOrigin::heuristic]) + " by heuristic";
  if (const int refused = count[GemmOrigin::table_refused]; refused > 0) {
    out += ", " + std::to_string(refused) +
           " by heuristic because the library refused the measured one; run train --tune again";
  }
  return out + " (" + device_name() + ", cuBLASLt " + std::to_string(cublasLtGetVersion()) + ")";
}

}  // namespace strait::kernels::cuda
