#include "kernels/permute.h"

#include <algorithm>
#include <cstring>

#include "kernels/cpu/real.h"
#include "kernels/cpu/rows.h"
#include "kernels/cpu/run.h"

namespace strait::kernels::cpu {
namespace {

template <class Real>
void combine(const MoeCombineFwd& op) {
  const std::int64_t tokens = op.row_of.shape[0], width = op.x.shape[1];
#pragma omp parallel for schedule(static) if (op.x.numel() > kParallelGrain)
  for (std::int64_t t = 0; t < tokens; ++t) {
    Real* y = op.y.as<Real>() + t * op.y.stride[0];
    if (!op.base.defined()) {
      std::fill_n(y, width, Real(0));
    } else if (op.base.data != op.y.data) {
      std::copy_n(op.base.as<Real>() + t * op.base.stride[0], width, y);
    }
    add_expert_rows(op.x, op.row_of, op.weight, t, y);
  }
}

template <class Real>
void combine_backward(const MoeCombineBwd& op) {
  const std::int64_t rows = op.choice_of.shape[0], width = op.dy.shape[1];
  const std::int64_t chosen = op.weight.shape[1];
  const auto* choice_of = op.choice_of.as<std::int32_t>();
#pragma omp parallel for schedule(static) if (op.x.numel() > kParallelGrain)
  for (std::int64_t r = 0; r < rows; ++r) {
    const std::int64_t choice = choice_of[r];
    const Real* dy = op.dy.as<Real>() + choice / chosen * op.dy.stride[0];
    const Real* x = op.x.as<Real>() + r * op.x.stride[0];
    Real* dx = op.dx.as<Real>() + r * op.dx.stride[0];
    const Real w = op.weight.as<Real>()[choice];
    Real product = 0;
#pragma omp simd reduction(+ : product)
    for (std::int64_t d = 0; d < width; ++d) product += dy[d] * x[d];
    op.dweight.as<Real>()[choice] = product;
    // dx may be x: the product above was its last reader.
    for (std::int64_t d = 0; d < width; ++d) dx[d] = w * dy[d];
  }
}

}  // namespace

void run(const MoeSort& op) {
  const std::int64_t choices = op.expert.numel(), experts = op.offsets.shape[0] - 1;
  const auto* expert = op.expert.as<std::int32_t>();
  auto* offsets = op.offsets.as<std::int32_t>();
  auto* row_of = op.row_of.as<std::int32_t>();
  auto* choice_of = op.choice_of.as<std::int32_t>();
  std::fill_n(offsets, experts + 1, 0);
  for (std::int64_t c = 0; c < choices; ++c) ++offsets[expert[c] + 1];
  for (std::int64_t e = 0; e < experts; ++e) offsets[e + 1] += offsets[e];
  // offsets[e] serves as the next free row of e, which leaves it at the first row of e + 1.
  for (std::int64_t c = 0; c < choices; ++c) {
    row_of[c] = offsets[expert[c]]++;
    choice_of[row_of[c]] = static_cast<std::int32_t>(c);
  }
  std::copy_backward(offsets, offsets + experts, offsets + experts + 1);
  offsets[0] = 0;
}

void run(const MoePermute& op) {
  const std::int64_t rows = op.choice_of.shape[0];
  if (rows == 0) return;
  const std::int64_t chosen = rows / op.x.shape[0];
  const auto element = static_cast<std::int64_t>(size_of(op.x.dtype));
  const auto* choice_of = op.choice_of.as<std::int32_t>();
#pragma omp parallel for schedule(static) if (op.y.numel() > kParallelGrain)
  for (std::int64_t r = 0; r < rows; ++r) {
    std::memcpy(op.y.as<char>() + r * op.y.stride[0] * element,
                op.x.as<char>() + choice_of[r] / chosen * op.x.stride[0] * element,
                op.x.shape[1] * element);
  }
}

void run(const MoeCombineFwd& op) {
  with_real(op.x.dtype, MoeCombineFwd::kName, [&](auto real) { combine<decltype(real)>(op); });
}

void run(const MoeCombineBwd& op) {
  with_real(op.dy.dtype, MoeCombineBwd::kName,
            [&](auto real) { combine_backward<decltype(real)>(op); });
}

}  // namespace strait::kernels::cpu
