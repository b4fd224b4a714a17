#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#include "kernels/cca.h"
#include "kernels/elementwise.h"
#include "kernels/launch.h"
#include "kernels/memory.h"

// Speed of the CCA mix in bf16 beside this device's own copy rate: median microseconds, GB/s with
// every input read once and every output written once, and the fraction of the copy rate measured
// in the same run. Launches are replayed from a CUDA graph over sets of tensors larger than L2.
namespace strait::kernels {
namespace {

struct Shape {
  std::int64_t heads, groups, width, batch, length;
};

constexpr int kSets = 2, kLaunches = 10, kRepeats = 15;

void require(cudaError_t status) {
  if (status == cudaSuccess) return;
  std::fprintf(stderr, "cca_bench: %s\n", cudaGetErrorString(status));
  std::exit(3);
}

/// Device tensors that live as long as the process.
class Source {
 public:
  explicit Source(const Stream& stream) : stream_(stream), noise_(std::size_t{1} << 20) {
    std::mt19937 random(7);
    std::normal_distribution<float> normal;
    for (std::uint16_t& x : noise_) {
      const float value = normal(random);
      std::uint32_t bits;
      static_assert(sizeof(bits) == sizeof(value));
      std::copy_n(reinterpret_cast<const char*>(&value), 4, reinterpret_cast<char*>(&bits));
      x = static_cast<std::uint16_t>(bits >> 16);
    }
  }

  Tensor noise(std::initializer_list<std::int64_t> shape) {
    Tensor t = make(DType::bf16, shape);
    const std::size_t bytes = 2 * static_cast<std::size_t>(t.numel());
    for (std::size_t at = 0; at < bytes; at += 2 * noise_.size()) {
      copy_to_device(static_cast<char*>(t.data) + at, noise_.data(),
                     std::min(bytes - at, 2 * noise_.size()), stream_);
    }
    return t;
  }
  Tensor zeros(DType dtype, std::initializer_list<std::int64_t> shape) {
    Tensor t = make(dtype, shape);
    require(cudaMemset(t.data, 0, t.bytes()));
    return t;
  }
  Tensor ints(const std::vector<std::int32_t>& values) {
    Tensor t = make(DType::i32, {static_cast<std::int64_t>(values.size())});
    copy_to_device(t.data, values.data(), 4 * values.size(), stream_);
    synchronise(stream_);
    return t;
  }

 private:
  Tensor make(DType dtype, std::initializer_list<std::int64_t> shape) {
    Tensor t(nullptr, dtype, shape);
    t.data = allocate(Device::cuda, t.bytes());
    return t;
  }

  Stream stream_;
  std::vector<std::uint16_t> noise_;
};

/// Forward and backward of one layer, on slices of a projection as the layer has them.
struct Ops {
  CcaMixFwd forward;
  CcaMixBwd backward;
};

Ops make_ops(Source& source, const Shape& s) {
  const std::int64_t tokens = s.batch * s.length, e = s.heads + s.groups, d = s.width;
  const std::int64_t z = e * d, half = s.groups * d / 2, row = z + 2 * half;
  std::vector<std::int32_t> position(static_cast<std::size_t>(tokens));
  for (std::int64_t t = 0; t < tokens; ++t) {
    position[static_cast<std::size_t>(t)] = static_cast<std::int32_t>(t % s.length);
  }
  const Tensor projection = source.noise({tokens, row}), positions = source.ints(position);
  const Tensor gradient = source.noise({tokens, row});
  CcaMixFwd f{.z = projection.slice(1, 0, z),
              .v_cur = projection.slice(1, z, half),
              .v_del = projection.slice(1, z + half, half),
              .w0 = source.noise({2, z}),
              .b0 = source.noise({z}),
              .w1 = source.noise({e, 2 * d, d}),
              .b1 = source.noise({e, d}),
              .temp = source.zeros(DType::f32, {s.groups}),
              .positions = positions,
              .doc_pos = positions,
              .q = source.noise({tokens, s.heads, d}),
              .k = source.noise({tokens, s.groups, d}),
              .v = source.noise({tokens, s.groups, d}),
              .chunk = s.length,
              .switches = {},
              .rope = {.theta = 1e4, .dims = d}};
  CcaMixBwd b{.dq = source.noise({tokens, s.heads, d}),
              .dk = source.noise({tokens, s.groups, d}),
              .dv = source.noise({tokens, s.groups, d}),
              .z = f.z,
              .w0 = f.w0,
              .b0 = f.b0,
              .w1 = f.w1,
              .b1 = f.b1,
              .temp = f.temp,
              .positions = positions,
              .doc_pos = positions,
              .dz = gradient.slice(1, 0, z),
              .dv_cur = gradient.slice(1, z, half),
              .dv_del = gradient.slice(1, z + half, half),
              .dw0 = source.zeros(DType::f32, {2, z}),
              .db0 = source.zeros(DType::f32, {z}),
              .dw1 = source.zeros(DType::f32, {e, 2 * d, d}),
              .db1 = source.zeros(DType::f32, {e, d}),
              .dtemp = source.zeros(DType::f32, {s.groups}),
              .chunk = s.length,
              .switches = {},
              .rope = {.theta = 1e4, .dims = d}};
  return {f, b};
}

/// Median microseconds of body(i), i = 0 .. kLaunches - 1 in one graph.
template <class Body>
double time_us(cudaStream_t stream, Body&& body) {
  for (int i = 0; i < kSets; ++i) body(i);
  cudaGraph_t graph;
  cudaGraphExec_t executable;
  require(cudaStreamSynchronize(stream));
  require(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
  for (int i = 0; i < kLaunches; ++i) body(i);
  require(cudaStreamEndCapture(stream, &graph));
  require(cudaGraphInstantiate(&executable, graph, 0));
  cudaEvent_t begin, end;
  require(cudaEventCreate(&begin));
  require(cudaEventCreate(&end));
  std::vector<double> times;
  for (int i = 0; i < kRepeats + 2; ++i) {
    require(cudaEventRecord(begin, stream));
    require(cudaGraphLaunch(executable, stream));
    require(cudaEventRecord(end, stream));
    require(cudaEventSynchronize(end));
    float ms = 0;
    require(cudaEventElapsedTime(&ms, begin, end));
    if (i >= 2) times.push_back(1e3 * ms / kLaunches);
  }
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

/// Bytes per microsecond of a large device-to-device copy, read and written: the better of the
/// runtime's and the framework's.
double copy_rate(const Stream& stream, cudaStream_t handle) {
  const std::size_t bytes = std::size_t{512} << 20;
  void* from = allocate(Device::cuda, bytes);
  void* to = allocate(Device::cuda, bytes);
  require(cudaMemset(from, 1, bytes));
  const double runtime = time_us(handle, [&](int) {
    require(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, handle));
  });
  const auto rows = static_cast<std::int64_t>(bytes / 8192);
  const Copy copy{.x = {from, DType::bf16, {rows, 4096}}, .y = {to, DType::bf16, {rows, 4096}}};
  const double own = time_us(handle, [&](int) { launch(copy, stream); });
  release(Device::cuda, from);
  release(Device::cuda, to);
  const double moved = 2.0 * static_cast<double>(bytes);
  std::printf("copy of 512 MB: runtime %.0f GB/s, Copy %.0f GB/s\n", moved / runtime * 1e-3,
              moved / own * 1e-3);
  return moved / std::min(runtime, own);
}

void report(const char* what, const Shape& s, double us, double bytes, double copy) {
  const double rate = bytes / us;
  std::printf("%-8s %3ld/%-3ld d %3ld %2ld x %5ld %9.1f us %8.0f GB/s %6.1f %% of copy\n", what,
              s.heads, s.groups, s.width, s.batch, s.length, us, rate * 1e-3, 100 * rate / copy);
}

int main_of(bool quick) {
  cudaStream_t handle;
  require(cudaStreamCreate(&handle));
  const Stream stream{.device = Device::cuda, .handle = handle, .observer = nullptr};
  const double copy = copy_rate(stream, handle);
  std::vector<Shape> shapes = {
      {4, 4, 128, 1, 16384}, {8, 2, 128, 1, 16384}, {16, 4, 128, 1, 16384}};
  if (!quick) {
    shapes.insert(shapes.end(), {{4, 4, 128, 4, 4096},
                                 {8, 2, 128, 4, 4096},
                                 {16, 4, 128, 4, 4096},
                                 {2, 2, 128, 1, 16384},
                                 {4, 4, 128, 1, 65536},
                                 {8, 8, 64, 1, 16384},
                                 {2, 2, 256, 1, 16384},
                                 {4, 4, 128, 1, 4096},
                                 {4, 4, 128, 1, 1024},
                                 {4, 4, 128, 1, 512}});
  }
  for (const Shape& shape : shapes) {
    Source source(stream);
    std::vector<Ops> sets;
    for (int i = 0; i < kSets; ++i) sets.push_back(make_ops(source, shape));
    synchronise(stream);
    const double forward = time_us(handle, [&](int i) { launch(sets[i % kSets].forward, stream); });
    report("forward", shape, forward, work(sets[0].forward).bytes, copy);
    const double backward =
        time_us(handle, [&](int i) { launch(sets[i % kSets].backward, stream); });
    report("backward", shape, backward, work(sets[0].backward).bytes, copy);
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace
}  // namespace strait::kernels

/// `cca_bench [quick]`
int main(int argc, char**) {
  if (!strait::kernels::available(strait::kernels::Device::cuda)) {
    std::fprintf(stderr, "cca_bench: no CUDA device on this machine\n");
    return 2;
  }
  return strait::kernels::main_of(argc > 1);
}
