#include "kernels/cuda/grouped_gemm.cuh"

#include "kernels/cuda/convert.cuh"
#include "kernels/cuda/grouped_gemm_f32.cuh"
#include "kernels/cuda/grouped_gemm_sm90.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/run.h"
#include "kernels/cuda/support.h"

namespace strait::kernels::cuda {
namespace {

/// 16-byte reads of rows: aligned starts, and no row ends inside a packet.
template <class T>
bool vector_rows(const ConstTensor& t) {
  return aligned_rows(t) && t.shape[t.rank - 1] % kPacket<T> == 0;
}

bool pair_rows(const Tensor& t) {
  if (reinterpret_cast<std::uintptr_t>(t.data) % (2 * size_of(t.dtype)) != 0) return false;
  for (int i = 0; i + 1 < t.rank; ++i) {
    if (t.stride[i] % 2 != 0) return false;
  }
  return true;
}

template <class T>
grouped::Args<T> arguments(const GroupedGemm& op) {
  return {.a = op.a.as<T>(),
          .b = op.b.as<T>(),
          .c = op.c.data,
          .offsets = op.offsets.as<std::int32_t>(),
          .to = op.to.as<std::int32_t>(),
          .scale = op.scale.as<float>(),
          .a_stride = op.a.stride[0],
          .b_stride = op.b.stride[1],
          .b_expert = op.b.stride[0],
          .c_stride = op.c.stride[0],
          .c_expert = 0,
          .experts = static_cast<int>(op.b.shape[0]),
          .rows = 0,
          .columns = static_cast<int>(op.c.shape[1]),
          .depth = static_cast<int>(op.a.shape[1]),
          .trans_b = op.trans_b,
          .accumulate = op.accumulate,
          .c_bf16 = op.c.dtype == DType::bf16,
          .vector = vector_rows<T>(op.a) && vector_rows<T>(op.b),
          .c_pairs = pair_rows(op.c)};
}

template <class T>
grouped::Args<T> arguments(const GroupedGemmWgrad& op) {
  return {.a = op.a.as<T>(),
          .b = op.b.as<T>(),
          .c = op.dw.data,
          .offsets = op.offsets.as<std::int32_t>(),
          .to = nullptr,
          .scale = nullptr,
          .a_stride = op.a.stride[0],
          .b_stride = op.b.stride[0],
          .b_expert = 0,
          .c_stride = op.dw.stride[1],
          .c_expert = op.dw.stride[0],
          .experts = static_cast<int>(op.dw.shape[0]),
          .rows = static_cast<int>(op.a.shape[1]),
          .columns = static_cast<int>(op.b.shape[1]),
          .depth = 0,
          .trans_b = false,
          .accumulate = op.accumulate,
          .c_bf16 = op.dw.dtype == DType::bf16,
          .vector = vector_rows<T>(op.a) && vector_rows<T>(op.b),
          .c_pairs = pair_rows(op.dw)};
}

/// As many row tiles as any split of the rows over the experts can have.
dim3 product_blocks(const GroupedGemm& op, int tile) {
  const std::int64_t rows = op.a.shape[0], experts = op.b.shape[0];
  const std::int64_t row_tiles = rows / tile + std::min(experts, rows);
  return dim3(static_cast<unsigned>(row_tiles * ceil_div(op.c.shape[1], tile)));
}

dim3 gradient_blocks(const GroupedGemmWgrad& op, int tile) {
  return dim3(blocks_for(op.a.shape[1], tile) * blocks_for(op.b.shape[1], tile),
              static_cast<unsigned>(op.dw.shape[0]));
}

/// One matrix as that of each expert.
ConstTensor repeated(const ConstTensor& matrix, std::int64_t experts) {
  ConstTensor b = matrix;
  b.rank = 3;
  b.shape = {experts, matrix.shape[0], matrix.shape[1]};
  b.stride = {0, matrix.stride[0], matrix.stride[1]};
  return b;
}

/// Without more_a.
void run_portable(const GroupedGemm& op, const Stream& stream) {
  const Call call{op.kName, stream, {op.a, op.b, op.c}};
  if (op.a.dtype == DType::f32) {
    launch_kernel(call, {product_blocks(op, grouped::kPlainTile), grouped::kPlainThreads},
                  grouped::product_plain_kernel<false>, arguments<float>(op));
    return;
  }
  const auto kernel =
      op.trans_b ? grouped::product_kernel<false, true> : grouped::product_kernel<false, false>;
  launch_kernel(call,
                {product_blocks(op, grouped::kRows), grouped::kThreads, grouped::kSharedBytes},
                kernel, arguments<bf16>(op));
}

}  // namespace

std::string unsupported(const GroupedGemm& op) {
  return unsupported_compute("a", op.a);
}

std::string unsupported(const GroupedGemmWgrad& op) {
  return unsupported_compute("a", op.a);
}

void run(const GroupedGemm& op, const Stream& stream) {
  const Call call{op.kName, stream, {op.a, op.b, op.c}};
  if (takes_hopper(op)) return multiply_hopper(op, call);
  if (!op.more_a.defined()) return run_portable(op, stream);
  // The term of all experts first, the rest is added.
  GroupedGemm more = op, rest = op;
  more.a = op.more_a;
  more.b = repeated(op.more_b, op.b.shape[0]);
  more.more_a = more.more_b = {};
  run_portable(more, stream);
  rest.more_a = rest.more_b = {};
  rest.accumulate = true;
  run(rest, stream);
}

void run(const GroupedGemmWgrad& op, const Stream& stream) {
  const Call call{op.kName, stream, {op.a, op.b, op.dw}};
  if (op.a.dtype == DType::f32) {
    launch_kernel(call, {gradient_blocks(op, grouped::kPlainTile), grouped::kPlainThreads},
                  grouped::product_plain_kernel<true>, arguments<float>(op));
    return;
  }
  if (takes_hopper(op)) return multiply_hopper(op, call);
  launch_kernel(call,
                {gradient_blocks(op, grouped::kRows), grouped::kThreads, grouped::kSharedBytes},
                grouped::product_kernel<true, false>, arguments<bf16>(op));
}

}  // namespace strait::kernels::cuda
