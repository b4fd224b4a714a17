#include "kernels/cuda/cca_bwd.cuh"

#include <algorithm>

#include "kernels/cuda/cca_dw.cuh"
#include "kernels/cuda/cca_dz.cuh"
#include "kernels/cuda/cca_fused.h"
#include "kernels/cuda/cca_values.cuh"
#include "kernels/cuda/cca_views.h"
#include "kernels/cuda/column_sums.h"
#include "kernels/cuda/run.h"

namespace strait::kernels::cuda {
namespace {

using namespace cca;

/// Sizes of the partial sums and where they lie in the workspace.
template <class T>
struct Workspace {
  Workspace(const CcaMixBwd& op, const Inputs<T>& in, const Stream& stream) {
    row_tiles = blocks_for(in.chunk_rows, kRows<T>) * in.chunks;
    grad_tiles = tiles_per_chunk(in) * in.chunks;
    const std::int64_t channels = op.z.shape[1], tiles = grad_tiles;
    if (in.convs == 2) {
      const std::int64_t splits = std::clamp<std::int64_t>(
          kWeightBlocks / weight_blocks_per_split(in), 1, ceil_div(in.tokens, 4 * kWeightStep<T>));
      split_tokens = ceil_div(ceil_div(in.tokens, splits), kWeightStep<T>) * kWeightStep<T>;
    }
    Layout layout;
    const auto floats = [&](std::int64_t count) {
      return layout.take(static_cast<std::size_t>(count) * sizeof(float));
    };
    const std::size_t du_at = layout.take(static_cast<std::size_t>(op.z.numel()) * sizeof(T));
    const std::size_t dtemp_at = floats(static_cast<std::int64_t>(row_tiles) * in.groups);
    const std::size_t dw0_at = floats(tiles * channels * in.taps0);
    const std::size_t db0_at = floats(tiles * channels), db1_at = floats(tiles * channels);
    const std::size_t dw1_at = floats(splits(in) * op.dw1.numel());
    void* base = Context::current().workspace(stream, layout.bytes());
    du = at<T>(base, du_at);
    dtemp = at<float>(base, dtemp_at);
    dw0 = at<float>(base, dw0_at);
    db0 = at<float>(base, db0_at);
    db1 = at<float>(base, db1_at);
    dw1 = at<float>(base, dw1_at);
  }

  /// Cuts of the tokens in the sum for dw1.
  std::int64_t splits(const Inputs<T>& in) const {
    return split_tokens == 0 ? 0 : ceil_div(in.tokens, split_tokens);
  }

  std::int64_t row_tiles, grad_tiles, split_tokens = 0;
  T* du;
  float *dtemp, *dw0, *db0, *db1, *dw1;
};

template <class T>
void head_gradients(const CcaMixBwd& op, const Call& call, const Inputs<T>& in,
                    const Workspace<T>& space) {
  const HeadGrads<T> grads{.dq = op.dq.as<T>(),
                           .dk = op.dk.as<T>(),
                           .dq_token = op.dq.stride[0],
                           .dq_head = op.dq.stride[1],
                           .dk_token = op.dk.stride[0],
                           .dk_head = op.dk.stride[1],
                           .du = space.du,
                           .dtemp = space.dtemp};
  const Grid grid{static_cast<unsigned>(space.row_tiles * in.heads), kThreads,
                  static_cast<std::size_t>(head_grad_bytes(in))};
  with_width<T>(in.width, [&](auto width) {
    launch_kernel(call, grid, head_grads<T, width()>, in, grads, make_rope_table(op.rope));
  });
  if (!in.norm) return;
  add_column_sums(call.op, space.dtemp, space.row_tiles, op.dtemp, call.stream);
}

template <class T>
void input_gradients(const CcaMixBwd& op, const Call& call, const Inputs<T>& in,
                     const Workspace<T>& space) {
  const bool depthwise = in.convs >= 1, per_head = in.convs == 2;
  const InputGrads<T> grads{.du = space.du,
                            .dz = mix_rows<T>(op.dz, op.dhalo_z, op.chunk),
                            .dw0 = depthwise ? space.dw0 : nullptr,
                            .db0 = depthwise ? space.db0 : nullptr,
                            .db1 = per_head ? space.db1 : nullptr};
  const Grid grid{static_cast<unsigned>(space.grad_tiles * in.heads), kThreads,
                  static_cast<std::size_t>(input_grad_bytes(in))};
  with_width<T>(in.width,
                [&](auto width) { launch_kernel(call, grid, input_grads<T, width()>, in, grads); });
  if (depthwise) {
    add_column_sums(call.op, space.dw0, space.grad_tiles, op.dw0, call.stream);
    add_column_sums(call.op, space.db0, space.grad_tiles, op.db0, call.stream);
  }
  if (per_head) add_column_sums(call.op, space.db1, space.grad_tiles, op.db1, call.stream);
}

template <class T>
void weight_gradients(const CcaMixBwd& op, const Call& call, const Inputs<T>& in,
                      const Workspace<T>& space) {
  if (in.convs != 2) return;
  const WeightGrads grads{.du = space.du,
                          .partials = space.dw1,
                          .split_tokens = static_cast<int>(space.split_tokens),
                          .du_vector = in.width % kPacket<T> == 0};
  const Grid grid{dim3(weight_blocks_per_split(in), static_cast<unsigned>(space.splits(in))),
                  kThreads};
  launch_kernel(call, grid, weight_grads<T>, in, grads);
  add_column_sums(call.op, space.dw1, space.splits(in), op.dw1, call.stream);
}

}  // namespace

std::string unsupported(const CcaMixBwd& op) {
  return unsupported_mix(op, op.dq);
}

void run(const CcaMixBwd& op, const Stream& stream) {
  const Call call{op.kName, stream, {op.z, op.dq, op.dk}};
  if (op.z.shape[0] == 0) return;
  if (fused_covers(op)) return run_fused(op, call);
  with_real(op.z.dtype, op.kName, [&](auto real) {
    using T = decltype(real);
    const bool aligned = all_aligned(op.dq, op.dk, op.dz, op.dhalo_z);
    const Inputs<T> in = inputs<T>(op, op.dq, op.dk, aligned);
    const Workspace<T> space(op, in, stream);
    head_gradients(op, call, in, space);
    input_gradients(op, call, in, space);
    weight_gradients(op, call, in, space);
  });
  const std::int64_t unit = value_unit(op.dv, op.dv_cur, op.dv_del, op.dhalo_v);
  with_value_unit(unit, [&](auto type) {
    const ValueArgs args =
        value_args(op.dv, op.dv_cur, op.dv_del, op.dhalo_v, op.doc_pos, op.chunk, unit);
    launch_kernel(call, value_grid(args), move_values<decltype(type), false>, args);
  });
}

}  // namespace strait::kernels::cuda
