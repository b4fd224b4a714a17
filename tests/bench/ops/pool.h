#pragma once

#include <cstdint>
#include <initializer_list>
#include <random>
#include <vector>

#include "kernels/stream.h"
#include "kernels/tensor.h"

namespace strait::bench {

using kernels::DType;
using kernels::Tensor;

/// Device memory for the tensors of one case at a time. Owns two blocks: the tensors, and random
/// values to fill them from. Everything it makes lives until clear().
class Pool {
 public:
  /// Allocates `bytes` on the current device.
  Pool(std::size_t bytes, const kernels::Stream& stream);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  /// Standard normal values: bf16 or f32.
  Tensor normal(DType dtype, std::initializer_list<std::int64_t> shape);
  Tensor constant(DType dtype, std::initializer_list<std::int64_t> shape, double value);
  Tensor ints(const std::vector<std::int32_t>& values, std::initializer_list<std::int64_t> shape);
  /// Contents undefined.
  Tensor raw(DType dtype, std::initializer_list<std::int64_t> shape);

  std::mt19937& random() { return random_; }
  std::size_t used() const { return used_; }
  void clear() { used_ = 0; }

 private:
  static constexpr std::size_t kNoise = std::size_t{64} << 20;

  char* noise_of(DType dtype) const { return noise_ + (dtype == DType::bf16 ? 0 : kNoise); }
  void make_noise();

  kernels::Stream stream_;
  std::size_t bytes_, used_ = 0;
  char* data_ = nullptr;
  char* noise_ = nullptr;  // kNoise bytes of bf16, then as many of f32
  std::mt19937 random_{1};
};

}  // namespace strait::bench
