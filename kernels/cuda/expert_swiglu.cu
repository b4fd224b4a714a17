#include "kernels/expert_swiglu.h"

#include "kernels/cuda/convert.cuh"
#include "kernels/cuda/exp.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/run.h"
#include "kernels/cuda/support.h"
#include "kernels/cuda/warp.cuh"

namespace strait::kernels::cuda {
namespace {

constexpr int kThreads = 256, kRows = kThreads / kWarp;  // a warp a row

template <class T>
struct Args {
  const T* dy;
  const T* gate_up;
  T* dgate_up;
  T* y;
  std::int64_t dy_stride, gate_up_stride, dgate_up_stride, y_stride;
  const int* choice_of;
  const float* weight;
  float* dweight;
  const int* end;  // the first row of no expert
  int rows, width;
};

template <class T, int kWidth>
__global__ void __launch_bounds__(kThreads) differentiate(const Args<T> args) {
  using P = Packet<T, kWidth>;
  const int row = static_cast<int>(blockIdx.x) * kRows + warp_id();
  if (row >= args.rows) return;
  const int choice = args.choice_of[row];
  if (row >= *args.end) {
    if (lane_id() == 0) args.dweight[choice] = 0;
    return;
  }
  const float weight = args.weight[choice];
  const T* dy = args.dy + row * args.dy_stride;
  const T* gates = args.gate_up + row * args.gate_up_stride;
  T* dgates = args.dgate_up + row * args.dgate_up_stride;
  T* y = args.y + row * args.y_stride;
  float dweight = 0;
#pragma unroll 2
  for (int c = lane_id() * kWidth; c < args.width; c += kWarp * kWidth) {
    const P upstream = P::load(dy + c), gate = P::load(gates + c);
    const P up = P::load(gates + args.width + c);
    Floats<kWidth> dgate, dup, out;
#pragma unroll
    for (int j = 0; j < kWidth; ++j) {
      const float g = gate.get(j), u = up.get(j), s = sigmoid_for<T>(g),
                  d = weight * upstream.get(j);
      const float hidden = g * s * u;
      dweight = fmaf(upstream.get(j), hidden, dweight);
      out[j] = weight * hidden;
      dgate[j] = d * u * s * (1.0f + g * (1.0f - s));
      dup[j] = d * g * s;
    }
    P::from(out).store(y + c);
    P::from(dgate).store(dgates + c);
    P::from(dup).store(dgates + args.width + c);
  }
  dweight = warp_reduce(dweight);
  if (lane_id() == 0) args.dweight[choice] = dweight;
}

}  // namespace

std::string unsupported(const ExpertSwigluBwd& op) {
  return unsupported_compute("dy", op.dy);
}

void run(const ExpertSwigluBwd& op, const Stream& stream) {
  with_real(op.dy.dtype, op.kName, [&](auto real) {
    using T = decltype(real);
    const std::int64_t rows = op.dy.shape[0], width = op.dy.shape[1];
    const Args<T> args{.dy = op.dy.as<T>(),
                       .gate_up = op.gate_up.as<T>(),
                       .dgate_up = op.dgate_up.as<T>(),
                       .y = op.y.as<T>(),
                       .dy_stride = op.dy.stride[0],
                       .gate_up_stride = op.gate_up.stride[0],
                       .dgate_up_stride = op.dgate_up.stride[0],
                       .y_stride = op.y.stride[0],
                       .choice_of = op.choice_of.as<std::int32_t>(),
                       .weight = op.weight.as<float>(),
                       .dweight = op.dweight.as<float>(),
                       .end = op.offsets.as<std::int32_t>() + op.offsets.shape[0] - 1,
                       .rows = static_cast<int>(rows),
                       .width = static_cast<int>(width)};
    const bool aligned =
        all_aligned(op.dy, op.gate_up, op.dgate_up, op.y) && width % kPacket<T> == 0;
    const Call call{op.kName, stream, {op.dy, op.gate_up, op.dweight}};
    const Grid grid{blocks_for(rows, kRows), kThreads};
    if (aligned) return launch_kernel(call, grid, differentiate<T, kPacket<T>>, args);
    launch_kernel(call, grid, differentiate<T, 1>, args);
  });
}

}  // namespace strait::kernels::cuda
