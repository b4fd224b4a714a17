#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <vector>

#include "kernels/tensor.h"

// Tensors, comparison and finite differences for tests.
namespace strait::test {

using kernels::ConstTensor;
using kernels::DType;
using kernels::Tensor;

/// Owns the memory of one test's tensors. Deterministic: the k-th call always fills alike.
class Buffers {
 public:
  explicit Buffers(std::uint64_t seed = 1) : state_(seed) {}
  /// Standard normal values times `scale`.
  Tensor normal(DType dtype, std::initializer_list<std::int64_t> shape, double scale = 1.0);
  Tensor zeros(DType dtype, std::initializer_list<std::int64_t> shape);
  /// Outputs an op must overwrite: NaN in floats, a large number in integers.
  Tensor poisoned(DType dtype, std::initializer_list<std::int64_t> shape);
  Tensor ints(const std::vector<std::int32_t>& values, std::initializer_list<std::int64_t> shape);
  /// Same shape and values in another float dtype; contiguous.
  Tensor converted(ConstTensor x, DType dtype);
  /// Uniform in [0, n).
  std::int64_t below(std::int64_t n);

 private:
  Tensor allocate(DType dtype, std::initializer_list<std::int64_t> shape);
  double uniform();
  std::uint64_t state_;
  std::vector<std::unique_ptr<char[]>> blocks_;
};

/// Element `index` (row-major over the shape, strides respected) as double.
double get(const ConstTensor& x, std::int64_t index);
void set(const Tensor& x, std::int64_t index, double value);
/// Every element, row-major as for get(), and the other way round; there are numel() values.
std::vector<double> values(const ConstTensor& x);
void assign(const Tensor& x, const std::vector<double>& values);

/// bf16 by its bits, written apart from the code under test: its value, and the nearest to the
/// nearest float, ties to even. NaN stays NaN.
double from_bf16(std::uint16_t bits);
std::uint16_t to_bf16(double value);

/// sum(a * b) over all elements.
double dot(const ConstTensor& a, const ConstTensor& b);

/// |got - want| / max(|want|, 1e-30), Euclidean over all elements; NaN counts as infinite.
double relative_l2(const std::vector<double>& got, const std::vector<double>& want);
double relative_l2(const ConstTensor& got, const ConstTensor& want);

inline constexpr double kDifferenceStep = 1e-3;

/// d loss / d x by fourth-order central differences; x is f64 and restored.
std::vector<double> numeric_gradient(const Tensor& x, const std::function<double()>& loss,
                                     double step = kDifferenceStep);

/// Relative L2 distance of `analytic` from the numeric gradient of `loss` with respect to x; 0
/// where it is less than one rounding of the loss can make, as where the gradient is zero.
double gradient_error(const Tensor& x, const ConstTensor& analytic,
                      const std::function<double()>& loss);

/// Bit-equal contents (same shape and dtype).
bool bit_equal(const ConstTensor& a, const ConstTensor& b);

}  // namespace strait::test
