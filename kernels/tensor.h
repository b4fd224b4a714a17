#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <type_traits>

// A tensor here is a view: pointer, dtype, shape, strides. It owns nothing; arenas and tables own.
namespace strait::kernels {

enum class DType : std::uint8_t { f64, f32, bf16, i64, i32, u8 };

constexpr std::size_t size_of(DType dtype) {
  switch (dtype) {
    case DType::f64:
    case DType::i64:
      return 8;
    case DType::f32:
    case DType::i32:
      return 4;
    case DType::bf16:
      return 2;
    case DType::u8:
      return 1;
  }
  return 0;
}

constexpr const char* name_of(DType dtype) {
  switch (dtype) {
    case DType::f64:
      return "f64";
    case DType::f32:
      return "f32";
    case DType::bf16:
      return "bf16";
    case DType::i64:
      return "i64";
    case DType::i32:
      return "i32";
    case DType::u8:
      return "u8";
  }
  return "?";
}

/// Dtype of statistics (rstd, log-sum-exp, losses, router scores): f64 in a double model, else f32.
constexpr DType stat_dtype(DType compute) {
  return compute == DType::f64 ? DType::f64 : DType::f32;
}

inline constexpr int kMaxRank = 4;

template <class T>
inline constexpr DType kDTypeOf = DType::u8;
template <>
inline constexpr DType kDTypeOf<double> = DType::f64;
template <>
inline constexpr DType kDTypeOf<float> = DType::f32;
template <>
inline constexpr DType kDTypeOf<std::int64_t> = DType::i64;
template <>
inline constexpr DType kDTypeOf<std::int32_t> = DType::i32;

/// View of at most four dims. Strides are in elements. Pointer is `void*` or `const void*`.
/// An undefined tensor (data == nullptr) stands for "absent" in optional fields of an op.
template <class Pointer>
struct BasicTensor {
  Pointer data = nullptr;
  DType dtype = DType::f32;
  int rank = 0;
  std::array<std::int64_t, kMaxRank> shape{};
  std::array<std::int64_t, kMaxRank> stride{};

  BasicTensor() = default;

  /// Contiguous row-major view of `pointer`.
  BasicTensor(Pointer pointer, DType type, std::initializer_list<std::int64_t> dims)
      : data(pointer), dtype(type) {
    for (std::int64_t size : dims) shape[rank++] = size;
    set_contiguous_strides();
  }

  operator BasicTensor<const void*>() const requires(!std::is_same_v<Pointer, const void*>) {
    BasicTensor<const void*> out;
    out.data = data;
    out.dtype = dtype;
    out.rank = rank;
    out.shape = shape;
    out.stride = stride;
    return out;
  }

  bool defined() const { return data != nullptr; }

  std::int64_t numel() const {
    std::int64_t n = rank == 0 ? 0 : 1;
    for (int i = 0; i < rank; ++i) n *= shape[i];
    return n;
  }

  std::size_t bytes() const { return static_cast<std::size_t>(numel()) * size_of(dtype); }

  bool contiguous() const {
    std::int64_t expected = 1;
    for (int i = rank - 1; i >= 0; --i) {
      if (shape[i] != 1 && stride[i] != expected) return false;
      expected *= shape[i];
    }
    return true;
  }

  /// Same elements under another shape. Precondition: contiguous, equal element count.
  BasicTensor view(std::initializer_list<std::int64_t> dims) const {
    return BasicTensor(data, dtype, dims);
  }

  /// Elements [begin, begin + length) along `dim`.
  BasicTensor slice(int dim, std::int64_t begin, std::int64_t length) const {
    BasicTensor out = *this;
    using Byte = std::conditional_t<std::is_same_v<Pointer, const void*>, const char, char>;
    const auto offset = begin * stride[dim] * static_cast<std::int64_t>(size_of(dtype));
    out.data = static_cast<Byte*>(data) + offset;
    out.shape[dim] = length;
    return out;
  }

  /// [.., H * d] -> [.., H, d]; the last dim must be contiguous.
  BasicTensor split_last(std::int64_t heads, std::int64_t width) const {
    BasicTensor out = *this;
    out.rank = rank + 1;
    out.shape[rank - 1] = heads;
    out.stride[rank - 1] = width;
    out.shape[rank] = width;
    out.stride[rank] = 1;
    return out;
  }

  template <class T>
  auto as() const {
    using Typed = std::conditional_t<std::is_same_v<Pointer, const void*>, const T, T>;
    return static_cast<Typed*>(data);
  }

  std::string shape_string() const {
    std::string out = "[";
    for (int i = 0; i < rank; ++i) out += (i ? ", " : "") + std::to_string(shape[i]);
    return out + "] " + name_of(dtype);
  }

 private:
  void set_contiguous_strides() {
    std::int64_t step = 1;
    for (int i = rank - 1; i >= 0; --i) {
      stride[i] = step;
      step *= shape[i];
    }
  }
};

using Tensor = BasicTensor<void*>;
using ConstTensor = BasicTensor<const void*>;

}  // namespace strait::kernels
