#include <algorithm>

#include "kernels/cpu/head.h"
#include "kernels/cpu/real.h"
#include "kernels/cpu/rope.h"
#include "kernels/cpu/rows.h"
#include "kernels/cpu/run.h"

namespace strait::kernels::cpu {
namespace {

template <class T>
void assemble(const MlaAssembleFwd& op) {
  const std::int64_t tokens = op.q_up.shape[0], heads = op.q_up.shape[1];
  const std::int64_t rope_width = op.rope.dims, nope = op.q_up.shape[2] - rope_width;
  const RopeTable table(op.rope);
#pragma omp parallel if (op.q.numel() > kParallelGrain)
  {
    RopeRotation<T> rotation(table);
#pragma omp for schedule(static)
    for (std::int64_t t = 0; t < tokens; ++t) {
      rotation.set_position(op.positions.as<std::int32_t>()[t]);
      const T* shared = op.k_rope.as<T>() + t * op.k_rope.stride[0];
      for (std::int64_t h = 0; h < heads; ++h) {
        const T* q_up = head<T>(op.q_up, t, h);
        T* q = head<T>(op.q, t, h);
        T* k = head<T>(op.k, t, h);
        if (q != q_up) std::copy_n(q_up, nope, q);
        rotation.rotate(q_up + nope, q + nope, rope_width);
        std::copy_n(head<T>(op.kv_up, t, h), nope, k);
        if (h == 0) rotation.rotate(shared, k + nope, rope_width);
        if (h > 0) std::copy_n(head<T>(op.k, t, 0) + nope, rope_width, k + nope);
      }
    }
  }
}

template <class T>
void disassemble(const MlaAssembleBwd& op) {
  const std::int64_t tokens = op.dq.shape[0], heads = op.dq.shape[1];
  const std::int64_t rope_width = op.rope.dims, nope = op.dq.shape[2] - rope_width;
  const std::int64_t value_width = op.dv.shape[2];
  const RopeTable table(op.rope);
#pragma omp parallel if (op.dq.numel() > kParallelGrain)
  {
    RopeRotation<T> rotation(table);
#pragma omp for schedule(static)
    for (std::int64_t t = 0; t < tokens; ++t) {
      rotation.set_position(op.positions.as<std::int32_t>()[t]);
      T* shared = op.dk_rope.as<T>() + t * op.dk_rope.stride[0];
      std::fill_n(shared, rope_width, T(0));
      for (std::int64_t h = 0; h < heads; ++h) {
        const T* dq = head<T>(op.dq, t, h);
        const T* dk = head<T>(op.dk, t, h);
        T* dq_up = head<T>(op.dq_up, t, h);
        T* dkv_up = head<T>(op.dkv_up, t, h);
        if (dq_up != dq) std::copy_n(dq, nope, dq_up);
        rotation.rotate(dq + nope, dq_up + nope, rope_width, true);
        std::copy_n(dk, nope, dkv_up);
        std::copy_n(head<T>(op.dv, t, h), value_width, dkv_up + nope);
        for (std::int64_t i = 0; i < rope_width; ++i) shared[i] += dk[nope + i];
      }
      // The rotation is linear: turned back once, after the sum over heads.
      rotation.rotate(shared, shared, rope_width, true);
    }
  }
}

}  // namespace

void run(const MlaAssembleFwd& op) {
  with_real(op.q_up.dtype, op.kName, [&](auto real) { assemble<decltype(real)>(op); });
}

void run(const MlaAssembleBwd& op) {
  with_real(op.dq.dtype, op.kName, [&](auto real) { disassemble<decltype(real)>(op); });
}

}  // namespace strait::kernels::cpu
