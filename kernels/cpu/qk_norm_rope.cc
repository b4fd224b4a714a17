#include "kernels/qk_norm_rope.h"

#include "kernels/cpu/head.h"
#include "kernels/cpu/real.h"
#include "kernels/cpu/rms_row.h"
#include "kernels/cpu/rope.h"
#include "kernels/cpu/rows.h"
#include "kernels/cpu/run.h"

namespace strait::kernels::cpu {
namespace {

template <class T>
void forward_token(const QkNormRopeFwd& op, const RopeRotation<T>& rotation, std::int64_t token) {
  const std::int64_t heads = op.x.shape[1], d = op.x.shape[2];
  for (std::int64_t h = 0; h < heads; ++h) {
    const T* x = head<T>(op.x, token, h);
    T* y = head<T>(op.y, token, h);
    if (op.w.defined()) {
      head<T>(op.rstd, token, 0)[h] = rms_forward_row(x, op.w.as<T>(), y, d, op.eps);
      x = y;
    }
    rotation.rotate(x, y, d);
  }
}

template <class T>
void backward_token(const QkNormRopeBwd& op, const RopeRotation<T>& rotation, std::int64_t token,
                    T* dw) {
  const std::int64_t heads = op.dy.shape[1], d = op.dy.shape[2];
  for (std::int64_t h = 0; h < heads; ++h) {
    T* dx = head<T>(op.dx, token, h);
    rotation.rotate(head<T>(op.dy, token, h), dx, d, /*inverse=*/true);
    if (op.w.defined()) {
      rms_backward_row<T>(dx, head<T>(op.x, token, h), op.w.as<T>(), head<T>(op.rstd, token, 0)[h],
                          nullptr, dx, dw, d);
    }
  }
}

}  // namespace

void run(const QkNormRopeFwd& op) {
  with_real(op.x.dtype, QkNormRopeFwd::kName, [&](auto real) {
    using T = decltype(real);
    const RopeTable table(op.rope);
    const std::int64_t tokens = op.x.shape[0];
#pragma omp parallel if (op.x.numel() > kParallelGrain)
    {
      RopeRotation<T> rotation(table);
#pragma omp for schedule(static)
      for (std::int64_t t = 0; t < tokens; ++t) {
        rotation.set_position(op.positions.as<std::int32_t>()[t]);
        forward_token(op, rotation, t);
      }
    }
  });
}

void run(const QkNormRopeBwd& op) {
  with_real(op.dy.dtype, QkNormRopeBwd::kName, [&](auto real) {
    using T = decltype(real);
    const RopeTable table(op.rope);
    RowBlocks<T> blocks(op.dy.shape[0], op.w.defined() ? op.dy.shape[2] : 0);
#pragma omp parallel if (op.dy.numel() > kParallelGrain)
    {
      RopeRotation<T> rotation(table);
#pragma omp for schedule(static)
      for (std::int64_t b = 0; b < blocks.count(); ++b) {
        for (std::int64_t t = blocks.begin(b); t < blocks.end(b); ++t) {
          rotation.set_position(op.positions.as<std::int32_t>()[t]);
          backward_token(op, rotation, t, blocks.sums(b));
        }
      }
    }
    if (op.w.defined()) blocks.add_to(op.dw.as<T>());
  });
}

}  // namespace strait::kernels::cpu
