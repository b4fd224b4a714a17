#include "kernels/cpu/cca_tile.h"
#include "kernels/cpu/real.h"
#include "kernels/cpu/rope.h"
#include "kernels/cpu/rows.h"
#include "kernels/cpu/run.h"

namespace strait::kernels::cpu {
namespace {

/// Gradients through the convolutions of one head and block. Everything here is linear in da, so
/// what a block owes to rows before it is added at once and nothing is carried between blocks.
/// One instance per thread.
template <class T>
class ConvolutionGrad {
 public:
  ConvolutionGrad(const CcaMixBwd& op, const CcaGeometry<T>& geometry)
      : op_(op),
        g_(geometry),
        before_(geometry.taps1 - 1),
        dcolumns_(kCcaBlockRows * geometry.taps1 * geometry.width),
        da_((kCcaBlockRows + before_) * geometry.width) {}

  /// Adds to dz, dhalo_z and the parameters' gradients, in row order; du is mixed(head).
  void run(const CcaBlock& block, std::int64_t head, CcaConvolution<T>& convolution) {
    const std::int64_t d = g_.width;
    const T* du = convolution.mixed(head, 0);
    if (op_.switches.convs == 2) {
      const std::int64_t reach = per_head(block, head, convolution);
      for (std::int64_t i = -reach; i < block.rows; ++i) depthwise(block, i, head, da(i));
    } else if (op_.switches.convs == 1) {
      for (std::int64_t i = 0; i < block.rows; ++i) depthwise(block, i, head, du + i * d);
    } else {
      for (std::int64_t i = 0; i < block.rows; ++i) {
        T* dz = g_.at(op_.dz, op_.dhalo_z, block.chunk, block.first + i) + head * d;
        for (std::int64_t c = 0; c < d; ++c) dz[c] += du[i * d + c];
      }
    }
  }

 private:
  T* da(std::int64_t i) { return da_.data() + (before_ + i) * g_.width; }

  /// Second convolution: dw1, db1 and da. Returns how many rows before the block have da.
  std::int64_t per_head(const CcaBlock& block, std::int64_t head, CcaConvolution<T>& convolution) {
    const std::int64_t d = g_.width, depth = g_.taps1 * d;
    const T* du = convolution.mixed(head, 0);
    gemm<T>(depth, d, block.rows, T(1), {convolution.columns(head, 0), depth, true}, {du, d}, T(1),
            op_.dw1.as<T>() + head * depth * d, d);
    gemm<T>(block.rows, depth, d, T(1), {du, d}, {op_.w1.as<T>() + head * depth * d, d, true}, T(0),
            dcolumns_.data(), depth);
    std::fill(da_.begin(), da_.end(), T(0));
    T* db1 = op_.db1.as<T>() + head * d;
    T* db0 = op_.db0.as<T>() + head * d;
    for (std::int64_t i = 0; i < block.rows; ++i) {
      for (std::int64_t c = 0; c < d; ++c) db1[c] += du[i * d + c];
      const std::int64_t history = g_.history(block.chunk, block.first + i);
      for (std::int64_t s = 0; s < g_.taps1; ++s) {
        const T* dcolumn = dcolumns_.data() + i * depth + (g_.taps1 - 1 - s) * d;
        // Before the document the depthwise output is its bias.
        T* target = s <= history ? da(i - s) : db0;
        for (std::int64_t c = 0; c < d; ++c) target[c] += dcolumn[c];
      }
    }
    return std::min(before_, g_.history(block.chunk, block.first));
  }

  /// First convolution at row i of the block: dw0, db0 and dz.
  void depthwise(const CcaBlock& block, std::int64_t i, std::int64_t head, const T* da) {
    const std::int64_t d = g_.width, channels = g_.heads * d, row = block.first + i;
    const std::int64_t back = std::min(g_.taps0 - 1, g_.history(block.chunk, row));
    T* db0 = op_.db0.as<T>() + head * d;
    for (std::int64_t c = 0; c < d; ++c) db0[c] += da[c];
    for (std::int64_t s = 0; s <= back; ++s) {
      const std::int64_t tap = (g_.taps0 - 1 - s) * channels + head * d;
      const T* w0 = op_.w0.as<T>() + tap;
      const T* z = g_.z(block.chunk, row - s) + head * d;
      T* dw0 = op_.dw0.as<T>() + tap;
      T* dz = g_.at(op_.dz, op_.dhalo_z, block.chunk, row - s) + head * d;
#pragma omp simd
      for (std::int64_t c = 0; c < d; ++c) {
        dw0[c] += da[c] * z[c];
        dz[c] += da[c] * w0[c];
      }
    }
  }

  const CcaMixBwd& op_;
  const CcaGeometry<T>& g_;
  std::int64_t before_;      // n1 - 1
  std::vector<T> dcolumns_;  // [rows, n1 d]
  std::vector<T> da_;        // [(n1 - 1) + rows, d]
};

/// Gradient of one head before norm, factor and rotation, in place of its value y. Returns the
/// gradient of `tau`.
template <class T>
T undo_norm(const T* dout, T tau, const RopeRotation<T>& rotation, std::int64_t d, T* turned,
            T* y) {
  rotation.rotate(dout, turned, d, /*inverse=*/true);
  const T factor = norm_factor(y, d);
  T along = 0;
#pragma omp simd reduction(+ : along)
  for (std::int64_t c = 0; c < d; ++c) along += turned[c] * y[c];
  // factor = sqrt(d) / n, so d factor / dy = -factor y / n^2 with 1 / n^2 = factor^2 / d.
  const T back = along * factor * factor / static_cast<T>(d);
  for (std::int64_t c = 0; c < d; ++c) y[c] = tau * factor * (turned[c] - back * y[c]);
  return factor * along;
}

/// Assigns the part of dz that comes through the qk-mean, 0 without it.
template <class T>
void mean_grad(const CcaGeometry<T>& g, bool qk_mean, std::int64_t group, std::int64_t i,
               CcaConvolution<T>& convolution, T* dz) {
  const std::int64_t d = g.width, size = g.group_size(), first = group * size;
  T* dk0 = dz + (g.query_heads() + group) * d;
  if (!qk_mean) {
    std::fill_n(dk0, d, T(0));
    std::fill_n(dz + first * d, size * d, T(0));
    return;
  }
  const T share = T(0.5) / static_cast<T>(size);
  const T* dk = convolution.mixed(g.query_heads() + group, i);
  for (std::int64_t c = 0; c < d; ++c) dk0[c] = T(0.5) * dk[c];
  for (std::int64_t h = first; h < first + size; ++h) {
    const T* dq = convolution.mixed(h, i);
    T* dq0 = dz + h * d;
    for (std::int64_t c = 0; c < d; ++c) {
      dq0[c] = T(0.5) * dq[c] + share * dk[c];
      dk0[c] += T(0.5) * dq[c];
    }
  }
}

/// Row i of the block from dq, dk to du (in mixed) and the first part of dz. `dtau` is [G].
template <class T>
void start_row(const CcaMixBwd& op, const CcaGeometry<T>& g, const CcaBlock& block, std::int64_t i,
               const RopeRotation<T>& rotation, CcaConvolution<T>& convolution, T* turned,
               T* dtau) {
  const std::int64_t token = block.chunk * g.chunk_rows + block.first + i;
  const T* z = g.z(block.chunk, block.first + i);
  T* dz = g.at(op.dz, op.dhalo_z, block.chunk, block.first + i);
  const auto undo = [&](const T* dout, T tau, T* y) {
    if (op.switches.norm) return undo_norm(dout, tau, rotation, g.width, turned, y);
    rotation.rotate(dout, y, g.width, /*inverse=*/true);
    return T(0);
  };
  for (std::int64_t j = 0; j < g.groups; ++j) {
    if (op.switches.qk_mean) add_mean(g, z, j, i, convolution);
    for (std::int64_t h = j * g.group_size(); h < (j + 1) * g.group_size(); ++h) {
      undo(head<T>(op.dq, token, h), T(1), convolution.mixed(h, i));
    }
    const T tau = key_factor<T>(op.temp, j, op.switches);
    dtau[j] = undo(head<T>(op.dk, token, j), tau, convolution.mixed(g.query_heads() + j, i));
    mean_grad(g, op.switches.qk_mean, j, i, convolution, dz);
  }
}

/// Mirror of the value shift: the delayed half goes to the row before, or to the halo.
template <class T>
void unshift_values(const CcaMixBwd& op, const CcaGeometry<T>& g) {
  const std::int64_t current = op.dv_cur.defined() ? op.dv_cur.shape[1] : 0;
  const std::int64_t delayed = op.dv_del.defined() ? op.dv_del.shape[1] : 0;
  const auto give = [&](std::int64_t from, bool reached, T* to) {
    if (reached && op.doc_pos.as<std::int32_t>()[from] > 0) {
      std::copy_n(head<T>(op.dv, from, 0) + current, delayed, to);
    } else {
      std::fill_n(to, delayed, T(0));
    }
  };
#pragma omp parallel for schedule(static) if (op.dv.numel() > kParallelGrain)
  for (std::int64_t t = 0; t < op.dv.shape[0]; ++t) {
    if (current > 0) {
      std::copy_n(head<T>(op.dv, t, 0), current, op.dv_cur.as<T>() + t * op.dv_cur.stride[0]);
    }
    if (delayed == 0) continue;
    const std::int64_t chunk = t / g.chunk_rows, row = t % g.chunk_rows;
    give(t + 1, row + 1 < g.chunk_rows, op.dv_del.as<T>() + t * op.dv_del.stride[0]);
    if (row == 0 && op.dhalo_v.defined()) {
      give(t, true, op.dhalo_v.as<T>() + chunk * op.dhalo_v.stride[0]);
    }
  }
}

template <class T>
void add_temp_grad(const CcaMixBwd& op, const CcaGeometry<T>& g, const std::vector<T>& dtau) {
  if (!op.switches.norm) return;
  for (std::int64_t j = 0; j < g.groups; ++j) {
    double sum = 0;
    for (std::int64_t t = 0; t < op.z.shape[0]; ++t) sum += dtau[t * g.groups + j];
    const bool linear = op.switches.temperature == KeyTemperature::linear;
    const T slope = linear ? T(1) : key_factor<T>(op.temp, j, op.switches);
    op.dtemp.as<T>()[j] += static_cast<T>(sum) * slope;
  }
}

template <class T>
void zero_halo(const Tensor& dhalo) {
  for (std::int64_t chunk = 0; chunk < dhalo.shape[0]; ++chunk) {
    for (std::int64_t row = 0; row < dhalo.shape[1]; ++row) {
      std::fill_n(head<T>(dhalo, chunk, row), dhalo.shape[2], T(0));
    }
  }
}

/// Blocks go in order; inside a block rows, then heads, run in parallel, and every sum belongs to
/// one head, so results do not depend on the number of threads.
template <class T>
void mix(const CcaMixBwd& op) {
  const CcaGeometry<T> g(op, op.dq, op.dk);
  const RopeTable table(op.rope);
  CcaConvolution<T> convolution(op, g);
  std::vector<T> dtau(static_cast<std::size_t>(op.z.shape[0] * g.groups));
  if (op.dhalo_z.defined()) zero_halo<T>(op.dhalo_z);
#pragma omp parallel if (op.z.numel() > kParallelGrain)
  {
    ConvolutionGrad<T> grad(op, g);
    RopeRotation<T> rotation(table);
    std::vector<T> turned(static_cast<std::size_t>(g.width));
    for (std::int64_t b = 0; b < g.blocks(); ++b) {
      const CcaBlock block = g.block(b);
      const std::int64_t token = block.chunk * g.chunk_rows + block.first;
#pragma omp for schedule(static)
      for (std::int64_t h = 0; h < g.heads; ++h) convolution.run(block, h);
#pragma omp for schedule(static)
      for (std::int64_t i = 0; i < block.rows; ++i) {
        rotation.set_position(op.positions.as<std::int32_t>()[token + i]);
        start_row(op, g, block, i, rotation, convolution, turned.data(),
                  dtau.data() + (token + i) * g.groups);
      }
#pragma omp for schedule(static)
      for (std::int64_t h = 0; h < g.heads; ++h) grad.run(block, h, convolution);
    }
  }
  add_temp_grad(op, g, dtau);
  unshift_values(op, g);
}

}  // namespace

void run(const CcaMixBwd& op) {
  with_real(op.z.dtype, op.kName, [&](auto real) { mix<decltype(real)>(op); });
}

}  // namespace strait::kernels::cpu
