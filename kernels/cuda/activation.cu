#include "kernels/activation.h"

#include "kernels/cuda/convert.cuh"
#include "kernels/cuda/exp.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/matrix_cut.cuh"
#include "kernels/cuda/run.h"
#include "kernels/cuda/support.h"

namespace strait::kernels::cuda {
namespace {

template <class T>
struct Matrix {
  T* data;
  std::int64_t stride;
};

template <class T, int kWidth>
__global__ __launch_bounds__(kCutThreads) void swiglu_fwd(MatrixCut cut, Matrix<const T> gate_up,
                                                          Matrix<T> y) {
  using P = Packet<T, kWidth>;
  std::int64_t row, packet;
  if (!find_packet(cut, row, packet)) return;
  const std::int64_t c = packet * kWidth, left = cut.width - c;
  const T* in = gate_up.data + row * gate_up.stride + c;
  const P gate = P::load(in, left), up = P::load(in + cut.width, left);
  Floats<kWidth> out;
#pragma unroll
  for (int j = 0; j < kWidth; ++j) {
    const float g = gate.get(j);
    out[j] = g * sigmoid_for<T>(g) * up.get(j);
  }
  P::from(out).store(y.data + row * y.stride + c, left);
}

template <class T, int kWidth>
__global__ __launch_bounds__(kCutThreads) void swiglu_bwd(MatrixCut cut, Matrix<const T> dy,
                                                          Matrix<const T> gate_up,
                                                          Matrix<T> dgate_up) {
  using P = Packet<T, kWidth>;
  std::int64_t row, packet;
  if (!find_packet(cut, row, packet)) return;
  const std::int64_t c = packet * kWidth, left = cut.width - c;
  const T* in = gate_up.data + row * gate_up.stride + c;
  const P upstream = P::load(dy.data + row * dy.stride + c, left);
  const P gate = P::load(in, left), up = P::load(in + cut.width, left);
  Floats<kWidth> dgate, dup;
#pragma unroll
  for (int j = 0; j < kWidth; ++j) {
    const float g = gate.get(j), d = upstream.get(j), s = sigmoid_for<T>(g);
    dgate[j] = d * up.get(j) * s * (1.0f + g * (1.0f - s));
    dup[j] = d * g * s;
  }
  T* out = dgate_up.data + row * dgate_up.stride + c;
  P::from(dgate).store(out, left);
  P::from(dup).store(out + cut.width, left);
}

/// The half of gate_up that holds `up` starts after F columns: that must be a packet border too.
bool halves_aligned(const ConstTensor& gate_up) {
  const std::int64_t half =
      gate_up.shape[1] / 2 * static_cast<std::int64_t>(size_of(gate_up.dtype));
  return aligned_rows(gate_up) && half % 16 == 0;
}

template <class T, class Tensor>
auto matrix(const Tensor& t) {
  return Matrix<std::remove_pointer_t<decltype(t.template as<T>())>>{t.template as<T>(),
                                                                     t.stride[0]};
}

}  // namespace

std::string unsupported(const SwigluFwd& op) {
  return unsupported_compute("y", op.y);
}

std::string unsupported(const SwigluBwd& op) {
  return unsupported_compute("dy", op.dy);
}

void run(const SwigluFwd& op, const Stream& stream) {
  with_real(op.y.dtype, SwigluFwd::kName, [&](auto real) {
    using T = decltype(real);
    with_packets<T>(aligned_rows(op.y) && halves_aligned(op.gate_up), [&](auto packet) {
      constexpr int kWidth = decltype(packet)::value;
      const MatrixCut cut = make_cut(op.y.shape[0], op.y.shape[1], kWidth);
      launch_kernel({SwigluFwd::kName, stream, {op.y}}, grid_of(cut), swiglu_fwd<T, kWidth>, cut,
                    matrix<T>(op.gate_up), matrix<T>(op.y));
    });
  });
}

void run(const SwigluBwd& op, const Stream& stream) {
  with_real(op.dy.dtype, SwigluBwd::kName, [&](auto real) {
    using T = decltype(real);
    const bool aligned =
        aligned_rows(op.dy) && halves_aligned(op.gate_up) && halves_aligned(op.dgate_up);
    with_packets<T>(aligned, [&](auto packet) {
      constexpr int kWidth = decltype(packet)::value;
      const MatrixCut cut = make_cut(op.dy.shape[0], op.dy.shape[1], kWidth);
      launch_kernel({SwigluBwd::kName, stream, {op.dy}}, grid_of(cut), swiglu_bwd<T, kWidth>, cut,
                    matrix<T>(op.dy), matrix<T>(op.gate_up), matrix<T>(op.dgate_up));
    });
  });
}

}  // namespace strait::kernels::cuda
