#include "kernels/wide_linear.h"

#include "kernels/cuda/convert.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/run.h"
#include "kernels/cuda/support.h"
#include "kernels/cuda/wide_parts.h"
#include "kernels/elementwise.h"
#include "kernels/gemm.h"

// f32 operands as sums of bf16 parts, multiplied on the tensor cores: three parts hold all 24 bits,
// two hold 16. Products of bf16 are exact in f32, which they are summed in.
namespace strait::kernels::cuda {
namespace {

constexpr int kThreads = 256;

/// The part-th bf16 of x: what the parts before it left, rounded.
__device__ __forceinline__ bf16 part_of(float x, int part) {
  bf16 rounded = __float2bfloat16_rn(x);
  for (int i = 0; i < part; ++i) {
    x -= __bfloat162float(rounded);
    rounded = __float2bfloat16_rn(x);
  }
  return rounded;
}

/// Copies of a matrix [rows, columns] one behind the other along rows, or beside one another along
/// columns, each of one part. `padded`: rows or columns of a copy, those beyond are zero.
struct SplitArgs {
  const float* x = nullptr;
  bf16* y = nullptr;
  std::int64_t x_stride = 0;
  int rows = 0, columns = 0, padded = 0;
  bool beside = false;
  int copies = 3;
  int part[4] = {};
};

__global__ void __launch_bounds__(kThreads) split_matrix(const SplitArgs args) {
  const int rows = args.beside ? args.rows : args.padded;
  const int columns = args.beside ? args.padded : args.columns;
  const std::int64_t copy = static_cast<std::int64_t>(rows) * columns;
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= copy) return;
  const auto row = static_cast<int>(i / columns), column = static_cast<int>(i % columns);
  const bool inside = row < args.rows && column < args.columns;
  const float x = inside ? args.x[row * args.x_stride + column] : 0.0f;
  for (int c = 0; c < args.copies; ++c) {
    const std::int64_t at =
        args.beside ? (args.copies * static_cast<std::int64_t>(row) + c) * columns + column
                    : c * copy + i;
    args.y[at] = part_of(x, args.part[c]);
  }
}

__global__ void __launch_bounds__(kThreads)
    add_parts(const WideParts parts, float* y, std::int64_t y_stride, int outputs,
              std::int64_t total) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= total) return;
  const std::int64_t t = i / outputs, o = i - t * outputs;
  y[t * y_stride + o] = parts(t, o);
}

/// Operands of cuBLASLt in whole packets.
int padded_of(const ConstTensor& w) {
  constexpr int kWhole = kPacket<bf16>;
  return static_cast<int>(ceil_div(w.shape[0], kWhole) * kWhole);
}

/// Fills in what x and y say.
void split(const Call& call, const ConstTensor& x, bf16* y, SplitArgs args) {
  args.x = x.as<float>();
  args.y = y;
  args.x_stride = x.stride[0];
  args.rows = static_cast<int>(x.shape[0]);
  args.columns = static_cast<int>(x.shape[1]);
  const std::int64_t copy =
      static_cast<std::int64_t>(args.padded) * (args.beside ? args.rows : args.columns);
  launch_kernel(call, {blocks_for(copy, kThreads), kThreads}, split_matrix, args);
}

/// Behind what a product may use of the stream's workspace.
struct Pieces {
  void* base;
  std::size_t first, second;

  Pieces(const Stream& stream, std::size_t first_bytes, std::size_t second_bytes) {
    Layout layout;
    layout.take(Context::kWorkspace);
    first = layout.take(first_bytes);
    second = layout.take(second_bytes);
    base = Context::current().workspace(stream, layout.bytes());
  }
};

}  // namespace

std::string unsupported(const WideLinearFwd& op) {
  return unsupported_compute("x", op.x);
}

std::string unsupported(const WideLinearBwd& op) {
  return unsupported_compute("dx", op.dx);
}

WideParts multiply_parts(const WideLinearFwd& op, const Call& call) {
  const Stream& stream = call.stream;
  const std::int64_t tokens = op.x.shape[0], in = op.x.shape[1], out = op.w.shape[0];
  const int padded = padded_of(op.w);
  if (op.parts.defined()) {
    split(call, op.w, op.parts.as<bf16>(),
          {.padded = static_cast<int>(out), .copies = 4, .part = {0, 1, 2, 0}});
  }
  const Pieces pieces(stream, static_cast<std::size_t>(3 * padded * in) * sizeof(bf16),
                      static_cast<std::size_t>(3 * padded * tokens) * sizeof(float));
  bf16* w = at<bf16>(pieces.base, pieces.first);
  auto* const parts = at<float>(pieces.base, pieces.second);
  if (op.parts.defined() && padded == out) {
    w = op.parts.as<bf16>();
  } else {
    split(call, op.w, w, {.padded = padded, .part = {0, 1, 2}});
  }
  run(Gemm{.a = op.x,
           .b = Tensor(w, DType::bf16, {3 * padded, in}),
           .c = Tensor(parts, DType::f32, {tokens, 3 * padded}),
           .trans_b = true},
      stream);
  return {parts, padded};
}

void run(const WideLinearFwd& op, const Stream& stream) {
  const Call call{op.kName, stream, {op.x, op.w, op.y}};
  if (op.x.dtype == DType::f32) {
    if (op.parts.defined()) run(Copy{.x = op.w, .y = op.parts}, stream);
    return run(Gemm{.a = op.x, .b = op.w, .c = op.y, .trans_b = true}, stream);
  }
  const WideParts parts = multiply_parts(op, call);
  launch_kernel(call, {blocks_for(op.y.numel(), kThreads), kThreads}, add_parts, parts,
                op.y.as<float>(), op.y.stride[0], static_cast<int>(op.w.shape[0]), op.y.numel());
}

/// hi hi + hi lo + lo hi: what is left out is 2^-16 of it, less than the rounding of dx.
void run(const WideLinearBwd& op, const Stream& stream) {
  if (op.dx.dtype == DType::f32) return run(Gemm{.a = op.dy, .b = op.w, .c = op.dx}, stream);
  const std::int64_t tokens = op.dx.shape[0], in = op.dx.shape[1];
  if (op.dx.numel() == 0) return;
  const int padded = padded_of(op.w);
  const Pieces pieces(stream, static_cast<std::size_t>(3 * padded * in) * sizeof(bf16),
                      static_cast<std::size_t>(3 * padded * tokens) * sizeof(bf16));
  bf16* const w = at<bf16>(pieces.base, pieces.first);
  bf16* const dy = at<bf16>(pieces.base, pieces.second);
  const Call call{op.kName, stream, {op.dy, op.w, op.dx}};
  split(call, op.w, w, {.padded = padded, .part = {0, 1, 0}});
  split(call, op.dy, dy, {.padded = padded, .beside = true, .part = {0, 0, 1}});
  run(Gemm{.a = Tensor(dy, DType::bf16, {tokens, 3 * padded}),
           .b = Tensor(w, DType::bf16, {3 * padded, in}),
           .c = op.dx},
      stream);
}

}  // namespace strait::kernels::cuda
