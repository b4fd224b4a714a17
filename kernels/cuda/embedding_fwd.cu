#include "kernels/cuda/convert.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/matrix_cut.cuh"
#include "kernels/cuda/run.h"
#include "kernels/cuda/support.h"

namespace strait::kernels::cuda {
namespace {

template <class T, int kWidth>
__global__ __launch_bounds__(kCutThreads) void embedding_fwd(MatrixCut cut, const std::int32_t* ids,
                                                             std::int64_t vocab_begin,
                                                             std::int64_t vocab, const void* w,
                                                             bool w_bf16, std::int64_t w_stride,
                                                             T* y, std::int64_t y_stride) {
  std::int64_t row, packet;
  if (!find_packet(cut, row, packet)) return;
  const std::int64_t c = packet * kWidth, left = cut.width - c;
  const std::int64_t id = ids[row] - vocab_begin;
  Floats<kWidth> values = {};
  if (id >= 0 && id < vocab) values = load_wide<kWidth>(w, w_bf16, id * w_stride + c, left);
  Packet<T, kWidth>::from(values).store(y + row * y_stride + c, left);
}

}  // namespace

std::string unsupported(const EmbeddingFwd& op) {
  return unsupported_compute("y", op.y);
}

void run(const EmbeddingFwd& op, const Stream& stream) {
  with_real(op.y.dtype, EmbeddingFwd::kName, [&](auto real) {
    using T = decltype(real);
    with_packets<T>(all_aligned(op.w, op.y), [&](auto packet) {
      constexpr int kWidth = decltype(packet)::value;
      const MatrixCut cut = make_cut(op.y.shape[0], op.y.shape[1], kWidth);
      launch_kernel({EmbeddingFwd::kName, stream, {op.w, op.y}}, grid_of(cut),
                    embedding_fwd<T, kWidth>, cut, op.ids.as<std::int32_t>(), op.vocab_begin,
                    op.w.shape[0], op.w.data, op.w.dtype == DType::bf16, op.w.stride[0],
                    op.y.as<T>(), op.y.stride[0]);
    });
  });
}

}  // namespace strait::kernels::cuda
