#include "tests/bench/ops/pool.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>

#include "kernels/elementwise.h"
#include "kernels/launch.h"
#include "kernels/memory.h"

namespace strait::bench {

Pool::Pool(std::size_t bytes, const kernels::Stream& stream)
    : stream_(stream),
      bytes_(bytes),
      data_(static_cast<char*>(kernels::allocate(kernels::Device::cuda, bytes))),
      noise_(static_cast<char*>(kernels::allocate(kernels::Device::cuda, 2 * kNoise))) {
  make_noise();
}

Pool::~Pool() {
  kernels::release(kernels::Device::cuda, data_);
  kernels::release(kernels::Device::cuda, noise_);
}

void Pool::make_noise() {
  std::vector<float> values(kNoise / sizeof(float));
  std::normal_distribution<float> normal;
  for (float& value : values) value = normal(random_);
  std::vector<std::uint16_t> halves(kNoise / sizeof(std::uint16_t));
  for (std::size_t i = 0; i < halves.size(); ++i) {
    std::uint32_t bits;
    std::memcpy(&bits, &values[i % values.size()], sizeof bits);
    halves[i] = static_cast<std::uint16_t>((bits + 0x8000u) >> 16);
  }
  kernels::copy_to_device(noise_of(DType::bf16), halves.data(), kNoise, stream_);
  kernels::copy_to_device(noise_of(DType::f32), values.data(), kNoise, stream_);
  kernels::synchronise(stream_);
}

Tensor Pool::raw(DType dtype, std::initializer_list<std::int64_t> shape) {
  Tensor tensor(data_ + used_, dtype, shape);
  used_ += (tensor.bytes() + 255) / 256 * 256;
  if (used_ > bytes_) {
    throw std::runtime_error("pool: a case needs more than " + std::to_string(bytes_) + " bytes");
  }
  return tensor;
}

Tensor Pool::normal(DType dtype, std::initializer_list<std::int64_t> shape) {
  const Tensor tensor = raw(dtype, shape);
  // Pieces of different lengths, so that equal rows do not follow one another.
  std::size_t piece = kNoise;
  for (std::size_t at = 0; at < tensor.bytes();) {
    const std::size_t length = std::min(piece, tensor.bytes() - at);
    kernels::copy_on_device(static_cast<char*>(tensor.data) + at, noise_of(dtype), length, stream_);
    at += length;
    piece -= 4096 * 7;
  }
  return tensor;
}

Tensor Pool::constant(DType dtype, std::initializer_list<std::int64_t> shape, double value) {
  const Tensor tensor = raw(dtype, shape);
  kernels::launch(kernels::Fill{.x = tensor, .value = value}, stream_);
  return tensor;
}

Tensor Pool::ints(const std::vector<std::int32_t>& values,
                  std::initializer_list<std::int64_t> shape) {
  const Tensor tensor = raw(DType::i32, shape);
  kernels::copy_to_device(tensor.data, values.data(), tensor.bytes(), stream_);
  kernels::synchronise(stream_);
  return tensor;
}

}  // namespace strait::bench
