#include "kernels/muon.h"

#include <cmath>

#include "kernels/bf16.h"
#include "kernels/cpu/real.h"
#include "kernels/cpu/rows.h"
#include "kernels/cpu/run.h"
#include "kernels/stochastic.h"

namespace strait::kernels::cpu {
namespace {

/// A momentum of T as it is.
template <class T>
struct WideMomentum {
  T* m;
  T load(std::int64_t at) const { return m[at]; }
  void store(std::int64_t at, T value) const { m[at] = value; }
};

/// A momentum in bf16, rounded stochastically.
template <class T>
struct NarrowMomentum {
  std::uint16_t* m;
  std::uint64_t key;
  std::int64_t first_index;
  T load(std::int64_t at) const { return static_cast<T>(float_of_bf16(m[at])); }
  void store(std::int64_t at, T value) const {
    const std::uint64_t bits = rounding_bits(key, static_cast<std::uint64_t>(first_index + at));
    m[at] = round_stochastic(static_cast<float>(value), static_cast<std::uint16_t>(bits));
  }
};

template <class T, class Momentum>
void add_momentum(const MuonMomentum& op, const Momentum& momentum) {
  if (op.rates.as<double>()[3] == 0) return;
  const T grad_scale = static_cast<T>(op.grad_scale.as<double>()[0]), mu = static_cast<T>(op.mu);
  for_each_span(op.g, false, [&](std::int64_t row, std::int64_t begin, std::int64_t length) {
    const std::int64_t from = row_offset(op.g, row) + begin, state = row_offset(op.m, row) + begin,
                       to = row_offset(op.u, row) + begin;
    for (std::int64_t i = 0; i < length; ++i) {
      const T gradient = op.g.as<T>()[from + i] * grad_scale;
      const T m = mu * momentum.load(state + i) + gradient;
      momentum.store(state + i, m);
      op.u.as<T>()[to + i] = op.nesterov ? gradient + mu * m : m;
    }
  });
}

template <class T>
double sum_of_squares(const T* x, std::int64_t n) {
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t i = 0; i < n; ++i) {
    sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  }
  return sum;
}

}  // namespace

void run(const MuonMomentum& op) {
  with_real(op.u.dtype, MuonMomentum::kName, [](auto) {});  // refuses bf16
  with_real(op.g.dtype, MuonMomentum::kName, [&](auto real) {
    using T = decltype(real);
    if (op.m.dtype == DType::bf16) {
      const auto t = static_cast<std::uint64_t>(op.rates.as<double>()[3]);
      add_momentum<T>(op, NarrowMomentum<T>{static_cast<std::uint16_t*>(op.m.data),
                                            rounding_key(op.seed, t), op.first_index});
    } else {
      add_momentum<T>(op, WideMomentum<T>{op.m.as<T>()});
    }
  });
}

void run(const FrobeniusScale& op) {
  with_real(op.x.dtype, FrobeniusScale::kName, [&](auto real) {
    using T = decltype(real);
    const std::int64_t size = op.x.shape[1] * op.x.shape[2];
#pragma omp parallel for if (op.x.numel() > kParallelGrain)
    for (std::int64_t i = 0; i < op.x.shape[0]; ++i) {
      T* x = op.x.as<T>() + i * size;
      const T factor = static_cast<T>(1 / (std::sqrt(sum_of_squares(x, size)) + op.eps));
      for (std::int64_t j = 0; j < size; ++j) x[j] *= factor;
    }
  });
}

void run(const NewtonSchulzFactor& op) {
  with_real(op.gram.dtype, NewtonSchulzFactor::kName, [&](auto real) {
    using T = decltype(real);
    const T a = static_cast<T>(op.a), b = static_cast<T>(op.b), c = static_cast<T>(op.c);
    const std::int64_t side = op.gram.shape[1];
#pragma omp parallel for if (op.gram.numel() > kParallelGrain)
    for (std::int64_t row = 0; row < op.gram.shape[0] * side; ++row) {
      const std::int64_t i = row % side;
      const T* gram = op.gram.as<T>() + row * side;
      T* square = op.square.as<T>() + row * side;
      T* column = square - i * side + i;
      for (std::int64_t j = 0; j <= i; ++j) {
        square[j] = (j == i ? a : T(0)) + b * gram[j] + c * square[j];
        column[j * side] = square[j];
      }
    }
  });
}

void run(const MuonUpdate& op) {
  const auto refuse_bf16 = [](const ConstTensor& t) {
    if (t.defined()) with_real(t.dtype, MuonUpdate::kName, [](auto) {});
  };
  refuse_bf16(op.o);
  refuse_bf16(op.w_compute);
  with_real(op.w.dtype, MuonUpdate::kName, [&](auto real) {
    using T = decltype(real);
    if (op.rates.as<double>()[3] == 0) return;
    const double lr = op.rates.as<double>()[0];
    const T step = static_cast<T>(lr * op.scale), shrink = static_cast<T>(lr * op.decay);
    for_each_span(op.w, false, [&](std::int64_t row, std::int64_t begin, std::int64_t length) {
      T* w = op.w.as<T>() + row_offset(op.w, row) + begin;
      const T* o = op.o.as<T>() + row_offset(op.o, row) + begin;
      for (std::int64_t i = 0; i < length; ++i) w[i] -= step * o[i] + shrink * w[i];
    });
  });
  if (op.w_compute.defined()) run(Copy{.x = op.w, .y = op.w_compute});
}

void run(const EvenOffsets& op) {
  for (std::int64_t i = 0; i < op.offsets.shape[0]; ++i) {
    op.offsets.as<std::int32_t>()[i] = static_cast<std::int32_t>(i * op.rows);
  }
}

}  // namespace strait::kernels::cpu
