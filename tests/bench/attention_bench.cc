// Times of the attention core on one GPU: attention_bench [--only fwd|bwd] [--dim D] [--runs N]
// [--shape HEADS,GROUPS,KEY_DIM,VALUE_DIM,DOCUMENTS,LENGTH] (causal, instead of the list).
// Prints a line per shape: median milliseconds of N runs between CUDA events, the L2 cache flushed
// before each, and TFLOP/s of the (query, key) pairs that the mask leaves (2 products forward,
// 5 backward).
#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "kernels/attention.h"
#include "kernels/launch.h"
#include "kernels/memory.h"

namespace strait::kernels {
namespace {

constexpr Stream kStream{.device = Device::cuda};

struct Options {
  std::string only;
  std::int64_t dim = 0;
  int runs = 20;
  std::string shape;
};

/// `documents` documents of `length` tokens.
struct Shape {
  std::int64_t heads, groups, key_dim, value_dim, documents, length;
  bool causal = true;
  std::int64_t tokens() const { return documents * length; }
  double pairs() const {
    const auto n = static_cast<double>(length);
    return (causal ? n * (n + 1) / 2 : n * n) * static_cast<double>(documents * heads);
  }
};

void expect_success(cudaError_t status) {
  if (status == cudaSuccess) return;
  std::fprintf(stderr, "attention_bench: %s\n", cudaGetErrorString(status));
  std::exit(3);
}

/// Device memory of one tensor.
class Memory {
 public:
  Memory(DType dtype, std::initializer_list<std::int64_t> dims) : tensor_(nullptr, dtype, dims) {
    tensor_.data = allocate(Device::cuda, tensor_.bytes());
  }
  ~Memory() { release(Device::cuda, tensor_.data); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  operator Tensor() const { return tensor_; }
  operator ConstTensor() const { return tensor_; }

  void copy(const void* host) {
    copy_to_device(tensor_.data, host, tensor_.bytes(), kStream);
    synchronise(kStream);
  }

  /// Roughly normal values: sums of four uniform ones.
  Memory& randomise(std::uint64_t seed) {
    std::vector<std::uint16_t> host(static_cast<std::size_t>(tensor_.numel()));
    std::uint64_t state = seed * 0x9e3779b97f4a7c15ull + 1;
    for (std::uint16_t& x : host) {
      state = state * 6364136223846793005ull + 1442695040888963407ull;
      float sum = -2.0f;
      for (int i = 0; i < 4; ++i) {
        sum += static_cast<float>((state >> (16 + 12 * i)) & 0xfff) / 4095.0f;
      }
      sum *= 1.732f;
      std::uint32_t bits;
      std::memcpy(&bits, &sum, sizeof bits);
      x = static_cast<std::uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
    }
    copy(host.data());
    return *this;
  }

 private:
  Tensor tensor_;
};

/// Median milliseconds of `body`, which enqueues on the default stream.
double median_ms(int runs, const std::function<void()>& body) {
  constexpr std::size_t kFlush = std::size_t{256} << 20;
  void* flush = allocate(Device::cuda, kFlush);
  cudaEvent_t start, stop;
  expect_success(cudaEventCreate(&start));
  expect_success(cudaEventCreate(&stop));
  std::vector<float> times;
  for (int i = -2; i < runs; ++i) {
    float ms = 0;
    expect_success(cudaMemsetAsync(flush, 0, kFlush));
    expect_success(cudaEventRecord(start));
    body();
    expect_success(cudaEventRecord(stop));
    expect_success(cudaEventSynchronize(stop));
    expect_success(cudaEventElapsedTime(&ms, start, stop));
    if (i >= 0) times.push_back(ms);
  }
  cudaEventDestroy(start);
  cudaEventDestroy(stop);
  release(Device::cuda, flush);
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

void set_intervals(const Shape& s, Memory& begin, Memory& end) {
  std::vector<std::int32_t> first, last;
  for (std::int64_t t = 0; t < s.tokens(); ++t) {
    const std::int64_t document = t / s.length * s.length;
    first.push_back(static_cast<std::int32_t>(document));
    last.push_back(static_cast<std::int32_t>(s.causal ? t + 1 : document + s.length));
  }
  begin.copy(first.data());
  end.copy(last.data());
}

void report(const Shape& s, const char* pass, double ms, double flops_per_pair) {
  const double tflops = s.pairs() * flops_per_pair / ms * 1e-9;
  std::printf("%s  heads %2lld/%-2lld  d %lld/%lld  %lld x %-6lld %-6s  %8.3f ms  %6.1f TFLOP/s\n",
              pass, static_cast<long long>(s.heads), static_cast<long long>(s.groups),
              static_cast<long long>(s.key_dim), static_cast<long long>(s.value_dim),
              static_cast<long long>(s.documents), static_cast<long long>(s.length),
              s.causal ? "causal" : "full", ms, tflops);
  std::fflush(stdout);
}

void measure(const Shape& s, const Options& options) {
  const std::int64_t tokens = s.tokens();
  Memory q(DType::bf16, {tokens, s.heads, s.key_dim}),
      k(DType::bf16, {tokens, s.groups, s.key_dim});
  Memory v(DType::bf16, {tokens, s.groups, s.value_dim});
  Memory o(DType::bf16, {tokens, s.heads, s.value_dim}), lse(DType::f32, {s.heads, tokens});
  Memory begin(DType::i32, {tokens}), end(DType::i32, {tokens});
  q.randomise(1), k.randomise(2), v.randomise(3);
  set_intervals(s, begin, end);
  const double scale = 1.0 / std::sqrt(static_cast<double>(s.key_dim));
  const AttentionFwd forward{
      .q = q, .k = k, .v = v, .k_begin = begin, .k_end = end, .o = o, .lse = lse, .scale = scale};
  launch(forward, kStream);
  if (options.only != "bwd") {
    report(s, "fwd", median_ms(options.runs, [&] { launch(forward, kStream); }),
           2.0 * static_cast<double>(s.key_dim + s.value_dim));
  }
  if (options.only == "fwd") return;
  Memory dout(DType::bf16, {tokens, s.heads, s.value_dim}),
      dq(DType::bf16, {tokens, s.heads, s.key_dim});
  Memory dk(DType::bf16, {tokens, s.groups, s.key_dim}),
      dv(DType::bf16, {tokens, s.groups, s.value_dim});
  dout.randomise(4);
  const AttentionBwd backward{.dout = dout,
                              .q = q,
                              .k = k,
                              .v = v,
                              .o = o,
                              .lse = lse,
                              .k_begin = begin,
                              .k_end = end,
                              .dq = dq,
                              .dk = dk,
                              .dv = dv,
                              .scale = scale};
  report(s, "bwd", median_ms(options.runs, [&] { launch(backward, kStream); }),
         2.0 * static_cast<double>(3 * s.key_dim + 2 * s.value_dim));
}

/// D = 2048: MHA, CCA-4x, CCA-2x8x, CCA-8x and 16 over 4 heads.
std::vector<Shape> shapes() {
  std::vector<Shape> all;
  for (const auto& [heads, groups] : {std::pair{16, 16}, {4, 4}, {8, 2}, {2, 2}, {16, 4}}) {
    all.push_back({heads, groups, 128, 128, 1, 16384});
    all.push_back({heads, groups, 128, 128, 4, 4096});
    all.push_back({heads, groups, 128, 128, 1, 4096});
  }
  all.push_back({16, 16, 128, 128, 1, 16384, false});
  all.push_back({4, 4, 128, 128, 1, 16384, false});
  all.push_back({32, 32, 64, 64, 1, 16384});
  all.push_back({8, 8, 64, 64, 1, 16384});
  all.push_back({16, 16, 192, 128, 1, 16384});
  all.push_back({8, 8, 256, 256, 1, 16384});
  return all;
}

Shape parse(const std::string& text) {
  long long n[6];
  if (std::sscanf(text.c_str(), "%lld,%lld,%lld,%lld,%lld,%lld", n, n + 1, n + 2, n + 3, n + 4,
                  n + 5) != 6) {
    std::fprintf(stderr, "attention_bench: --shape takes six numbers, got %s\n", text.c_str());
    std::exit(2);
  }
  return {n[0], n[1], n[2], n[3], n[4], n[5]};
}

int run(int argc, char** argv) {
  Options options;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string name = argv[i];
    if (name == "--only") options.only = argv[i + 1];
    if (name == "--dim") options.dim = std::atoll(argv[i + 1]);
    if (name == "--shape") options.shape = argv[i + 1];
    if (name == "--runs") options.runs = std::max(1, std::atoi(argv[i + 1]));
  }
  if (!available(Device::cuda)) {
    std::fprintf(stderr, "attention_bench: no CUDA device on this machine\n");
    return 3;
  }
  for (const Shape& shape : options.shape.empty() ? shapes() : std::vector{parse(options.shape)}) {
    if (options.dim == 0 || options.dim == shape.key_dim) measure(shape, options);
  }
  return 0;
}

}  // namespace
}  // namespace strait::kernels

int main(int argc, char** argv) {
  return strait::kernels::run(argc, argv);
}
