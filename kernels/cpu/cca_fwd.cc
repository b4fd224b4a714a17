#include "kernels/cpu/cca_tile.h"
#include "kernels/cpu/real.h"
#include "kernels/cpu/rope.h"
#include "kernels/cpu/rows.h"
#include "kernels/cpu/run.h"

namespace strait::kernels::cpu {
namespace {

/// Normalises and scales (unless switched off) and rotates the heads of one row into q and k.
template <class T>
void finish_row(const CcaMixFwd& op, const CcaGeometry<T>& g, const CcaBlock& block, std::int64_t i,
                const RopeRotation<T>& rotation, CcaConvolution<T>& convolution) {
  const std::int64_t d = g.width, token = block.chunk * g.chunk_rows + block.first + i;
  const T* z = g.z(block.chunk, block.first + i);
  if (op.switches.qk_mean) {
    for (std::int64_t j = 0; j < g.groups; ++j) add_mean(g, z, j, i, convolution);
  }
  for (std::int64_t h = 0; h < g.heads; ++h) {
    const std::int64_t j = h - g.query_heads();
    const T* y = convolution.mixed(h, i);
    T* out = j < 0 ? head<T>(op.q, token, h) : head<T>(op.k, token, j);
    const T tau = j < 0 ? T(1) : key_factor<T>(op.temp, j, op.switches);
    const T factor = op.switches.norm ? norm_factor(y, d) * tau : T(1);
    for (std::int64_t c = 0; c < d; ++c) out[c] = factor * y[c];
    rotation.rotate(out, out, d);
  }
}

/// v[t] = concat(v_cur[t], v_del[t - 1]), with zeros before the first row of a document.
template <class T>
void shift_values(const CcaMixFwd& op, const CcaGeometry<T>& g) {
  const std::int64_t current = op.v_cur.defined() ? op.v_cur.shape[1] : 0;
  const std::int64_t delayed = op.v_del.defined() ? op.v_del.shape[1] : 0;
#pragma omp parallel for schedule(static) if (op.v.numel() > kParallelGrain)
  for (std::int64_t t = 0; t < op.v.shape[0]; ++t) {
    T* v = head<T>(op.v, t, 0);
    if (current > 0) std::copy_n(op.v_cur.as<T>() + t * op.v_cur.stride[0], current, v);
    if (delayed == 0) continue;
    const std::int64_t chunk = t / g.chunk_rows, row = t % g.chunk_rows;
    const bool first = op.doc_pos.as<std::int32_t>()[t] == 0;
    if (first || (row == 0 && !op.halo_v.defined())) {
      std::fill_n(v + current, delayed, T(0));
    } else {
      const T* before = row > 0 ? op.v_del.as<T>() + (t - 1) * op.v_del.stride[0]
                                : op.halo_v.as<T>() + chunk * op.halo_v.stride[0];
      std::copy_n(before, delayed, v + current);
    }
  }
}

template <class T>
void mix(const CcaMixFwd& op) {
  const CcaGeometry<T> g(op, op.q, op.k);
  const RopeTable table(op.rope);
#pragma omp parallel if (op.z.numel() > kParallelGrain)
  {
    CcaConvolution<T> convolution(op, g);
    RopeRotation<T> rotation(table);
#pragma omp for schedule(static)
    for (std::int64_t b = 0; b < g.blocks(); ++b) {
      const CcaBlock block = g.block(b);
      for (std::int64_t h = 0; h < g.heads; ++h) convolution.run(block, h);
      for (std::int64_t i = 0; i < block.rows; ++i) {
        const std::int64_t token = block.chunk * g.chunk_rows + block.first + i;
        rotation.set_position(op.positions.as<std::int32_t>()[token]);
        finish_row(op, g, block, i, rotation, convolution);
      }
    }
  }
  shift_values(op, g);
}

}  // namespace

void run(const CcaMixFwd& op) {
  with_real(op.z.dtype, op.kName, [&](auto real) { mix<decltype(real)>(op); });
}

}  // namespace strait::kernels::cpu
