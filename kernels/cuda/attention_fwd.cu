#include "kernels/cuda/attention_fwd.cuh"
#include "kernels/cuda/attention_fwd_f32.cuh"
#include "kernels/cuda/attention_sm90.h"
#include "kernels/cuda/attention_views.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/run.h"
#include "kernels/cuda/score_unit.h"

namespace strait::kernels::cuda {
namespace {

using namespace attention;

template <class T>
ForwardArgs<T> arguments(const AttentionFwd& op) {
  const auto heads = static_cast<int>(op.q.shape[1]), groups = static_cast<int>(op.k.shape[1]);
  const auto scale = static_cast<float>(op.scale);
  return {.q = input_heads<T>(op.q),
          .k = input_heads<T>(op.k),
          .v = input_heads<T>(op.v),
          .o = output_heads<T>(op.o),
          .lse = op.lse.as<float>(),
          .intervals = intervals_of(op),
          .heads = heads,
          .heads_per_group = heads / groups,
          .scale = scale,
          .unit = score_unit(op.scale, scale * kLog2E)};
}

void attend(const AttentionFwd& op, const Call& call, float) {
  const ForwardArgs<float> args = arguments<float>(op);
  const Grid grid{
      .blocks = dim3(blocks_for(op.q.shape[0], kPlainRows), args.heads),
      .threads = kPlainThreads,
      .shared_bytes = static_cast<std::size_t>(plain_forward_bytes(args.q.width, args.v.width))};
  launch_kernel(call, grid, forward_plain_kernel, args);
}

/// Rows of registers decide the shapes: a step of 64 keys spills from a head dim of 128 on.
void attend(const AttentionFwd& op, const Call& call, bf16) {
  const ForwardArgs<bf16> args = arguments<bf16>(op);
  with_shape<ForwardShape<64, 64, 2, 64>, ForwardShape<128, 128, 2, 32>,
             ForwardShape<192, 128, 2, 32>, ForwardShape<256, 256, 1, 64>>(
      args.q.width, args.v.width, [&]<class Shape>(Shape) {
        const Grid grid{.blocks = blocks_for(op.q.shape[0], Shape::kRows) * args.heads,
                        .threads = kThreads,
                        .shared_bytes = Shape::kSharedBytes};
        launch_kernel(call, grid, forward_kernel<Shape>, args);
      });
}

}  // namespace

std::string unsupported(const AttentionFwd& op) {
  return unsupported_attention(op);
}

void run(const AttentionFwd& op, const Stream& stream) {
  const Call call{op.kName, stream, {op.q, op.k, op.v}};
  if (takes_hopper(op)) return attend_hopper(op, call);
  with_real(op.q.dtype, op.kName, [&](auto real) { attend(op, call, real); });
}

}  // namespace strait::kernels::cuda
