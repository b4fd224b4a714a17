#pragma once

#include <cstddef>
#include <initializer_list>
#include <string>

#include "core/tensor.h"

namespace strait::core {

/// A stack of tensors in one block of device memory. It starts in planning: take() hands out
/// addresses that must not be read and peak() learns the size. allocate() then makes the one
/// allocation, and the same sequence of calls yields real memory. Owns its block. Not thread-safe.
/// Under AddressSanitizer host memory that is not taken may not be touched, and begins as NaN.
class Arena {
 public:
  explicit Arena(std::string name);
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  /// Contiguous, uninitialised, aligned to 256 bytes. Throws RuntimeFault past the planned size.
  Tensor take(DType dtype, std::initializer_list<std::int64_t> shape);

  std::size_t mark() const { return used_; }
  /// Frees everything taken since `mark`.
  void release(std::size_t mark);

  /// Ends planning. Everything taken before is void; the stack is empty again.
  void allocate(Device device);

  const std::string& name() const { return name_; }
  bool planning() const { return device_ == Device::plan; }
  std::size_t peak() const { return peak_; }
  /// All of the memory, [peak] u8.
  Tensor block() const;

 private:
  std::string name_;
  Device device_ = Device::plan;
  void* block_ = nullptr;
  std::size_t used_ = 0;
  std::size_t peak_ = 0;
};

/// Releases on scope exit what was taken from an arena inside the scope.
class Frame {
 public:
  explicit Frame(Arena& arena) : arena_(arena), mark_(arena.mark()) {}
  ~Frame() { arena_.release(mark_); }
  Frame(const Frame&) = delete;
  Frame& operator=(const Frame&) = delete;

 private:
  Arena& arena_;
  std::size_t mark_;
};

}  // namespace strait::core
