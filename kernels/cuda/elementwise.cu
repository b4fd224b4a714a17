#include "kernels/elementwise.h"

#include <cstring>

#include "kernels/cuda/convert.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/matrix_cut.cuh"
#include "kernels/cuda/run.h"
#include "kernels/cuda/support.h"

namespace strait::kernels::cuda {
namespace {

/// Where rows start, counted over all dims but the last; contiguous tensors are one row.
struct Rows {
  std::int64_t size[kMaxRank - 1];
  std::int64_t stride[kMaxRank - 1];

  __device__ std::int64_t offset(std::int64_t row) const {
    std::int64_t at = 0;
#pragma unroll
    for (int i = kMaxRank - 2; i > 0; --i) {
      if (size[i] == 1) continue;
      at += row % size[i] * stride[i];
      row /= size[i];
    }
    return at + row * stride[0];
  }
};

/// Strides in elements of `element` bytes.
Rows rows_of(const ConstTensor& t, bool flat, std::int64_t element) {
  Rows rows = {{1, 1, 1}, {0, 0, 0}};
  const auto size = static_cast<std::int64_t>(size_of(t.dtype));
  for (int i = 0; !flat && i + 1 < t.rank; ++i) {
    const int at = kMaxRank - t.rank + i;
    rows.size[at] = t.shape[i];
    rows.stride[at] = t.stride[i] * size / element;
  }
  return rows;
}

/// Elements of a row and the number of rows.
MatrixCut cut_of(const ConstTensor& t, bool flat, int packet) {
  const std::int64_t total = t.numel(), width = flat ? total : t.shape[t.rank - 1];
  return make_cut(total == 0 ? 0 : total / width, width, packet);
}

template <class Unit>
__global__ __launch_bounds__(kCutThreads) void copy_units(MatrixCut cut, Rows from, const Unit* x,
                                                          Rows to, Unit* y) {
  std::int64_t row, c;
  if (find_packet(cut, row, c)) y[to.offset(row) + c] = x[from.offset(row) + c];
}

template <class Unit>
__global__ __launch_bounds__(kCutThreads) void fill_units(MatrixCut cut, Rows to, Unit* x,
                                                          Unit value) {
  std::int64_t row, c;
  if (find_packet(cut, row, c)) x[to.offset(row) + c] = value;
}

/// From and To in packets of as many elements as fit 16 bytes of the wider.
template <class From, class To, int kWidth>
__global__ __launch_bounds__(kCutThreads) void convert(MatrixCut cut, Rows from, const From* x,
                                                       Rows to, To* y) {
  std::int64_t row, packet;
  if (!find_packet(cut, row, packet)) return;
  const std::int64_t c = packet * kWidth, left = cut.width - c;
  const Packet<From, kWidth> in = Packet<From, kWidth>::load(x + from.offset(row) + c, left);
  Packet<To, kWidth>::from(in.floats()).store(y + to.offset(row) + c, left);
}

template <class T, int kWidth>
__global__ __launch_bounds__(kCutThreads) void add(MatrixCut cut, Rows a_rows, const T* a,
                                                   Rows b_rows, const T* b, Rows y_rows, T* y) {
  std::int64_t row, packet;
  if (!find_packet(cut, row, packet)) return;
  const std::int64_t c = packet * kWidth, left = cut.width - c;
  const auto first = Packet<T, kWidth>::load(a + a_rows.offset(row) + c, left);
  const auto second = Packet<T, kWidth>::load(b + b_rows.offset(row) + c, left);
  Floats<kWidth> sum;
#pragma unroll
  for (int j = 0; j < kWidth; ++j) sum[j] = first.get(j) + second.get(j);
  Packet<T, kWidth>::from(sum).store(y + y_rows.offset(row) + c, left);
}

/// Calls body(Unit{}) with the widest unit, up to 16 bytes, that divides rows and their starts.
template <class Body>
void with_unit(const ConstTensor& t, bool aligned, bool flat, Body&& body) {
  const MatrixCut cut = cut_of(t, flat, 1);
  const auto size = static_cast<std::int64_t>(size_of(t.dtype));
  if (aligned && cut.width * size % 16 == 0) return body(uint4{});
  switch (size) {
    case 8:
      return body(std::uint64_t{});
    case 4:
      return body(std::uint32_t{});
    case 2:
      return body(std::uint16_t{});
    default:
      return body(std::uint8_t{});
  }
}

/// The cut of `t` in units of Unit instead of elements.
template <class Unit>
MatrixCut units_of(const ConstTensor& t, bool flat) {
  MatrixCut cut = cut_of(t, flat, 1);
  cut.width = cut.packets = cut.width * static_cast<std::int64_t>(size_of(t.dtype)) /
                            static_cast<std::int64_t>(sizeof(Unit));
  return cut;
}

/// `value` in `dtype`, repeated over 16 bytes.
uint4 pattern_of(DType dtype, double value) {
  const auto size = size_of(dtype);
  char bytes[16];
  const auto repeat = [&](auto element) {
    for (std::size_t at = 0; at < sizeof(bytes); at += size)
      std::memcpy(bytes + at, &element, size);
  };
  switch (dtype) {
    case DType::f64:
      repeat(value);
      break;
    case DType::f32:
      repeat(static_cast<float>(value));
      break;
    case DType::bf16:
      repeat(__float2bfloat16_rn(static_cast<float>(value)));
      break;
    case DType::i64:
      repeat(static_cast<std::int64_t>(value));
      break;
    case DType::i32:
      repeat(static_cast<std::int32_t>(value));
      break;
    case DType::u8:
      repeat(static_cast<std::uint8_t>(value));
      break;
  }
  uint4 pattern;
  std::memcpy(&pattern, bytes, sizeof(bytes));
  return pattern;
}

void copy_same(const Copy& op, const Stream& stream) {
  const bool flat = op.x.contiguous() && op.y.contiguous();
  with_unit(op.y, all_aligned(op.x, op.y), flat, [&](auto unit) {
    using Unit = decltype(unit);
    const MatrixCut cut = units_of<Unit>(op.y, flat);
    launch_kernel({Copy::kName, stream, {op.x}}, grid_of(cut), copy_units<Unit>, cut,
                  rows_of(op.x, flat, sizeof(Unit)), op.x.as<Unit>(),
                  rows_of(op.y, flat, sizeof(Unit)), op.y.as<Unit>());
  });
}

template <class From, class To>
void copy_converted(const Copy& op, const Stream& stream) {
  const bool flat = op.x.contiguous() && op.y.contiguous();
  with_packets<float>(all_aligned(op.x, op.y), [&](auto packet) {
    constexpr int kWidth = decltype(packet)::value;
    const MatrixCut cut = cut_of(op.y, flat, kWidth);
    launch_kernel({Copy::kName, stream, {op.x, op.y}}, grid_of(cut), convert<From, To, kWidth>, cut,
                  rows_of(op.x, flat, sizeof(From)), op.x.as<From>(),
                  rows_of(op.y, flat, sizeof(To)), op.y.as<To>());
  });
}

}  // namespace

std::string unsupported(const Fill&) {
  return {};
}

std::string unsupported(const Add& op) {
  return unsupported_compute("y", op.y);
}

std::string unsupported(const Copy& op) {
  if (op.x.dtype == op.y.dtype) return {};
  std::string why = unsupported_compute("x", op.x);
  return why.empty() ? unsupported_compute("y", op.y) : why;
}

void run(const Fill& op, const Stream& stream) {
  const bool flat = op.x.contiguous();
  const uint4 pattern = pattern_of(op.x.dtype, op.value);
  with_unit(op.x, aligned_rows(op.x), flat, [&](auto unit) {
    using Unit = decltype(unit);
    Unit value;
    std::memcpy(&value, &pattern, sizeof(Unit));
    const MatrixCut cut = units_of<Unit>(op.x, flat);
    launch_kernel({Fill::kName, stream, {op.x}}, grid_of(cut), fill_units<Unit>, cut,
                  rows_of(op.x, flat, sizeof(Unit)), op.x.as<Unit>(), value);
  });
}

void run(const Add& op, const Stream& stream) {
  const bool flat = op.a.contiguous() && op.b.contiguous() && op.y.contiguous();
  with_real(op.y.dtype, Add::kName, [&](auto real) {
    using T = decltype(real);
    with_packets<T>(all_aligned(op.a, op.b, op.y), [&](auto packet) {
      constexpr int kWidth = decltype(packet)::value;
      const MatrixCut cut = cut_of(op.y, flat, kWidth);
      launch_kernel({Add::kName, stream, {op.y}}, grid_of(cut), add<T, kWidth>, cut,
                    rows_of(op.a, flat, sizeof(T)), op.a.as<T>(), rows_of(op.b, flat, sizeof(T)),
                    op.b.as<T>(), rows_of(op.y, flat, sizeof(T)), op.y.as<T>());
    });
  });
}

void run(const Copy& op, const Stream& stream) {
  if (op.x.dtype == op.y.dtype) return copy_same(op, stream);
  if (op.x.dtype == DType::bf16) return copy_converted<bf16, float>(op, stream);
  copy_converted<float, bf16>(op, stream);
}

}  // namespace strait::kernels::cuda
