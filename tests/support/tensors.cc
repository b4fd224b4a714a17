#include "tests/support/tensors.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

namespace strait::test {
namespace {

std::int64_t offset_of(const ConstTensor& x, std::int64_t index) {
  std::int64_t offset = 0;
  for (int i = x.rank - 1; i >= 0; --i) {
    offset += (index % x.shape[i]) * x.stride[i];
    index /= x.shape[i];
  }
  return offset;
}

}  // namespace

double from_bf16(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

std::uint16_t to_bf16(double value) {
  if (std::isnan(value)) return 0x7fc0;
  const auto bits = std::bit_cast<std::uint32_t>(static_cast<float>(value));
  return static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

double Buffers::uniform() {  // splitmix64
  state_ += 0x9e3779b97f4a7c15ull;
  std::uint64_t z = state_;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  z ^= z >> 31;
  return (static_cast<double>(z >> 11) + 0.5) * 0x1.0p-53;
}

std::int64_t Buffers::below(std::int64_t n) {
  return static_cast<std::int64_t>(uniform() * static_cast<double>(n));
}

Tensor Buffers::allocate(DType dtype, std::initializer_list<std::int64_t> shape) {
  Tensor t(nullptr, dtype, shape);
  blocks_.push_back(std::make_unique<char[]>(t.bytes() + 64));
  t.data = blocks_.back().get();
  return t;
}

Tensor Buffers::normal(DType dtype, std::initializer_list<std::int64_t> shape, double scale) {
  const Tensor t = allocate(dtype, shape);
  std::vector<double> values(static_cast<std::size_t>(t.numel()));
  for (double& value : values) {
    const double radius = std::sqrt(-2.0 * std::log(uniform()));
    value = scale * radius * std::cos(2.0 * M_PI * uniform());
  }
  assign(t, values);
  return t;
}

Tensor Buffers::zeros(DType dtype, std::initializer_list<std::int64_t> shape) {
  Tensor t = allocate(dtype, shape);
  std::memset(t.data, 0, t.bytes());
  return t;
}

Tensor Buffers::poisoned(DType dtype, std::initializer_list<std::int64_t> shape) {
  Tensor t = allocate(dtype, shape);
  std::memset(t.data, 0xff, t.bytes());  // NaN as f32 and f64, -1 as integers
  return t;
}

Tensor Buffers::ints(const std::vector<std::int32_t>& values,
                     std::initializer_list<std::int64_t> shape) {
  Tensor t = allocate(DType::i32, shape);
  std::memcpy(t.data, values.data(), t.bytes());
  return t;
}

Tensor Buffers::converted(ConstTensor x, DType dtype) {
  Tensor t = allocate(dtype, {x.numel()});
  for (std::int64_t i = 0; i < x.numel(); ++i) set(t, i, get(x, i));
  Tensor out = t;
  out.rank = x.rank;
  out.shape = x.shape;
  std::int64_t step = 1;
  for (int i = x.rank - 1; i >= 0; --i) {
    out.stride[i] = step;
    step *= x.shape[i];
  }
  return out;
}

namespace {

double get_at(const ConstTensor& x, std::int64_t at) {
  switch (x.dtype) {
    case DType::f64:
      return x.as<double>()[at];
    case DType::f32:
      return x.as<float>()[at];
    case DType::bf16:
      return from_bf16(x.as<std::uint16_t>()[at]);
    case DType::i64:
      return static_cast<double>(x.as<std::int64_t>()[at]);
    case DType::i32:
      return x.as<std::int32_t>()[at];
    default:
      return std::numeric_limits<double>::quiet_NaN();
  }
}

void set_at(const Tensor& x, std::int64_t at, double value) {
  if (x.dtype == DType::f64) x.as<double>()[at] = value;
  if (x.dtype == DType::f32) x.as<float>()[at] = static_cast<float>(value);
  if (x.dtype == DType::bf16) x.as<std::uint16_t>()[at] = to_bf16(value);
  if (x.dtype == DType::i64) x.as<std::int64_t>()[at] = static_cast<std::int64_t>(value);
  if (x.dtype == DType::i32) x.as<std::int32_t>()[at] = static_cast<std::int32_t>(value);
}

/// visit(index, offset) for every element, row by row of the last dimension.
template <class Visit>
void for_elements(const ConstTensor& x, Visit&& visit) {
  const int last = x.rank - 1;
  for (std::int64_t row = 0, count = x.numel(); row < count; row += x.shape[last]) {
    const std::int64_t first = offset_of(x, row);
    for (std::int64_t i = 0; i < x.shape[last]; ++i) visit(row + i, first + i * x.stride[last]);
  }
}

}  // namespace

double get(const ConstTensor& x, std::int64_t index) {
  return get_at(x, offset_of(x, index));
}

void set(const Tensor& x, std::int64_t index, double value) {
  set_at(x, offset_of(x, index), value);
}

std::vector<double> values(const ConstTensor& x) {
  std::vector<double> out(static_cast<std::size_t>(x.numel()));
  for_elements(x, [&](std::int64_t i, std::int64_t at) { out[i] = get_at(x, at); });
  return out;
}

void assign(const Tensor& x, const std::vector<double>& values) {
  for_elements(x, [&](std::int64_t i, std::int64_t at) { set_at(x, at, values[i]); });
}

double dot(const ConstTensor& a, const ConstTensor& b) {
  double sum = 0;
  for (std::int64_t i = 0; i < a.numel(); ++i) sum += get(a, i) * get(b, i);
  return sum;
}

double relative_l2(const std::vector<double>& got, const std::vector<double>& want) {
  if (got.size() != want.size()) return std::numeric_limits<double>::infinity();
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    difference += (got[i] - want[i]) * (got[i] - want[i]);
    norm += want[i] * want[i];
  }
  const double error = std::sqrt(difference) / std::max(std::sqrt(norm), 1e-30);
  return std::isnan(error) ? std::numeric_limits<double>::infinity() : error;
}

double relative_l2(const ConstTensor& got, const ConstTensor& want) {
  return relative_l2(values(got), values(want));
}

std::vector<double> numeric_gradient(const Tensor& x, const std::function<double()>& loss,
                                     double step) {
  std::vector<double> gradient(static_cast<std::size_t>(x.numel()));
  for (std::int64_t i = 0; i < x.numel(); ++i) {
    const double original = get(x, i);
    auto at = [&](double delta) {
      set(x, i, original + delta);
      return loss();
    };
    const double near = at(step) - at(-step);
    const double far = at(2 * step) - at(-2 * step);
    set(x, i, original);
    gradient[i] = (8 * near - far) / (12 * step);
  }
  return gradient;
}

double gradient_error(const Tensor& x, const ConstTensor& analytic,
                      const std::function<double()>& loss) {
  const std::vector<double> got = values(analytic), want = numeric_gradient(x, loss);
  double squares = 0;
  for (std::size_t i = 0; i < got.size(); ++i) squares += (got[i] - want[i]) * (got[i] - want[i]);
  const double seen = std::numeric_limits<double>::epsilon() * std::abs(loss()) / kDifferenceStep *
                      std::sqrt(static_cast<double>(got.size()));
  return std::sqrt(squares) <= seen ? 0 : relative_l2(got, want);
}

bool bit_equal(const ConstTensor& a, const ConstTensor& b) {
  if (a.dtype != b.dtype || a.rank != b.rank || a.shape != b.shape) return false;
  const std::vector<double> left = values(a), right = values(b);
  return std::memcmp(left.data(), right.data(), left.size() * sizeof(double)) == 0;
}

}  // namespace strait::test
