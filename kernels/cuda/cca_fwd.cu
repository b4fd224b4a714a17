#include "kernels/cuda/cca_conv.cuh"
#include "kernels/cuda/cca_fused.h"
#include "kernels/cuda/cca_values.cuh"
#include "kernels/cuda/cca_views.h"
#include "kernels/cuda/run.h"

namespace strait::kernels::cuda {
namespace {

using namespace cca;

template <class T>
struct Outputs {
  T* q;
  T* k;
  std::int64_t q_token, q_head, k_token, k_head;

  __device__ T* at(std::int64_t token, int head, int query_heads) const {
    if (head < query_heads) return q + token * q_token + head * q_head;
    return k + token * k_token + (head - query_heads) * k_head;
  }
};

/// Grid: heads fastest, so that the heads of a group read their rows of z together.
template <class T, int kMaxWidth>
__global__ void __launch_bounds__(kThreads)
    mix_forward(const __grid_constant__ Inputs<T> in, const __grid_constant__ Outputs<T> out,
                const __grid_constant__ RopeTable table) {
  extern __shared__ __align__(128) unsigned char memory[];
  __shared__ int history[kRows<T>];
  const int block = static_cast<int>(blockIdx.x) / in.heads;
  const int per_chunk = (in.chunk_rows + kRows<T> - 1) / kRows<T>;
  TileAt at{block / per_chunk, block % per_chunk * kRows<T>, 0,
            static_cast<int>(blockIdx.x) % in.heads};
  at.rows = min(kRows<T>, in.chunk_rows - at.first);
  const bool is_key = at.head >= in.query_heads;
  const float tau = is_key ? in.key_factor(at.head - in.query_heads) : 1.0f;

  float* const rows = convolve<T, kMaxWidth>(in, at, history, memory);
  for (int i = warp_id(); i < at.rows; i += kWarps) {
    // Mean and norm, rotation, store.
    const std::int64_t token = static_cast<std::int64_t>(at.chunk) * in.chunk_rows + at.first + i;
    float* row = rows + i * in.pitch();
    const float factor = complete_row(in, at, i, row) * tau;
    rotate_row(table, in.positions[token], row, 1);
    T* to = out.at(token, at.head, in.query_heads);
    for (int c = 4 * lane_id(); c < in.width; c += 4 * kWarp) {
      const int left = in.width - c;
      Floats<4> y;
#pragma unroll
      for (int j = 0; j < 4; ++j) y[j] = j < left ? factor * row[c + j] : 0.0f;
      store4(to + c, y, left, in.vector);
    }
  }
}

template <class T>
void mix(const CcaMixFwd& op, const Call& call) {
  const Inputs<T> in = inputs<T>(op, op.q, op.k, all_aligned(op.q, op.k));
  const Outputs<T> out{op.q.as<T>(),   op.k.as<T>(),   op.q.stride[0],
                       op.q.stride[1], op.k.stride[0], op.k.stride[1]};
  const unsigned blocks = blocks_for(in.chunk_rows, kRows<T>) * in.chunks * in.heads;
  const Grid grid{blocks, kThreads, static_cast<std::size_t>(convolve_bytes(in))};
  with_width<T>(in.width, [&](auto width) {
    launch_kernel(call, grid, mix_forward<T, width()>, in, out, make_rope_table(op.rope));
  });
}

}  // namespace

std::string unsupported(const CcaMixFwd& op) {
  return unsupported_mix(op, op.q);
}

void run(const CcaMixFwd& op, const Stream& stream) {
  const Call call{op.kName, stream, {op.z, op.q, op.k}};
  if (op.z.shape[0] == 0) return;
  if (fused_covers(op)) return run_fused(op, call);
  with_real(op.z.dtype, op.kName, [&](auto real) { mix<decltype(real)>(op, call); });
  const std::int64_t unit = value_unit(op.v, op.v_cur, op.v_del, op.halo_v);
  with_value_unit(unit, [&](auto type) {
    const ValueArgs args =
        value_args(op.v, op.v_cur, op.v_del, op.halo_v, op.doc_pos, op.chunk, unit);
    launch_kernel(call, value_grid(args), move_values<decltype(type), true>, args);
  });
}

}  // namespace strait::kernels::cuda
