#include "kernels/elementwise.h"

#include <algorithm>
#include <cstring>

#include "kernels/bf16.h"
#include "kernels/cpu/real.h"
#include "kernels/cpu/rows.h"
#include "kernels/cpu/run.h"

namespace strait::kernels::cpu {
namespace {

template <class T>
void fill(const Tensor& x, T value) {
  for_each_span(x, x.contiguous(), [&](std::int64_t row, std::int64_t begin, std::int64_t length) {
    std::fill_n(x.as<T>() + row_offset(x, row) + begin, length, value);
  });
}

void copy_bytes(const Copy& op) {
  const auto size = static_cast<std::int64_t>(size_of(op.x.dtype));
  const bool flat = op.x.contiguous() && op.y.contiguous();
  for_each_span(op.y, flat, [&](std::int64_t row, std::int64_t begin, std::int64_t length) {
    std::memcpy(op.y.as<char>() + (row_offset(op.y, row) + begin) * size,
                op.x.as<char>() + (row_offset(op.x, row) + begin) * size, length * size);
  });
}

}  // namespace

void run(const Fill& op) {
  switch (op.x.dtype) {
    case DType::f64:
      return fill(op.x, op.value);
    case DType::f32:
      return fill(op.x, static_cast<float>(op.value));
    case DType::bf16:
      return fill(op.x, bf16_of(static_cast<float>(op.value)));
    case DType::i64:
      return fill(op.x, static_cast<std::int64_t>(op.value));
    case DType::i32:
      return fill(op.x, static_cast<std::int32_t>(op.value));
    case DType::u8:
      return fill(op.x, static_cast<std::uint8_t>(op.value));
  }
}

void run(const Add& op) {
  with_real(op.y.dtype, Add::kName, [&](auto real) {
    using T = decltype(real);
    const bool flat = op.a.contiguous() && op.b.contiguous() && op.y.contiguous();
    for_each_span(op.y, flat, [&](std::int64_t row, std::int64_t begin, std::int64_t length) {
      const T* a = op.a.as<T>() + row_offset(op.a, row) + begin;
      const T* b = op.b.as<T>() + row_offset(op.b, row) + begin;
      T* y = op.y.as<T>() + row_offset(op.y, row) + begin;
#pragma omp simd
      for (std::int64_t i = 0; i < length; ++i) y[i] = a[i] + b[i];
    });
  });
}

void run(const Copy& op) {
  if (op.x.dtype == op.y.dtype) return copy_bytes(op);
  with_real(op.x.dtype, Copy::kName, [&](auto from) {
    with_real(op.y.dtype, Copy::kName, [&](auto to) {
      using From = decltype(from);
      using To = decltype(to);
      const bool flat = op.x.contiguous() && op.y.contiguous();
      for_each_span(op.y, flat, [&](std::int64_t row, std::int64_t begin, std::int64_t length) {
        const From* x = op.x.as<From>() + row_offset(op.x, row) + begin;
        To* y = op.y.as<To>() + row_offset(op.y, row) + begin;
        for (std::int64_t i = 0; i < length; ++i) y[i] = static_cast<To>(x[i]);
      });
    });
  });
}

}  // namespace strait::kernels::cpu
