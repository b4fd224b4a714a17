#pragma once

#include <concepts>
#include <initializer_list>
#include <stdexcept>
#include <string>

#include "kernels/tensor.h"

namespace strait::kernels {

/// A malformed or unsupported op. The message names op, field, expected, got and what to change.
class OpError : public std::invalid_argument {
 public:
  using std::invalid_argument::invalid_argument;
};

/// Collects the checks of one op under its name: `Checker c("RmsNormFwd"); c.shape("y", y, {T,
/// D});` Every method throws OpError at the first violation. `kAny` in a shape accepts every size.
class Checker {
 public:
  static constexpr std::int64_t kAny = -1;

  explicit Checker(const char* op) : op_(op) {}

  /// Defined, of this shape, last dim contiguous (rows may be strided).
  void shape(const char* field, const ConstTensor& t,
             std::initializer_list<std::int64_t> dims) const;
  /// As `shape`, but absent is fine.
  void optional_shape(const char* field, const ConstTensor& t,
                      std::initializer_list<std::int64_t> dims) const;
  /// The checks below pass over absent tensors; `shape` says which fields must be there.
  void dtype(const char* field, const ConstTensor& t, DType expected) const;
  /// A dtype a model computes in: f64, f32 or bf16.
  void compute_dtype(const char* field, const ConstTensor& t) const;
  /// `compute` or its stat dtype: parameters, their gradients and sums may be kept wider.
  void wide_dtype(const char* field, const ConstTensor& t, DType compute) const;
  void contiguous(const char* field, const ConstTensor& t) const;
  /// An output and another tensor share no byte. Column ranges of one wider buffer (equal row
  /// strides) are told apart; otherwise the whole byte ranges must not overlap.
  void disjoint(const char* field, const ConstTensor& out, const char* other_field,
                const ConstTensor& other) const;
  /// For outputs that may alias: the very same view, or disjoint.
  void same_or_disjoint(const char* field, const ConstTensor& out, const char* other_field,
                        const ConstTensor& other) const;
  /// The parts of `what` (text, numbers, tensors) read as advice when joined, e.g. "top_k must be
  /// in 1..E (8), got 9". They are put into words on failure alone: every launch passes here.
  template <class... Part>
  void that(bool ok, const Part&... what) const {
    if (!ok) fail((std::string() + ... + text_of(what)));
  }

 private:
  static std::string text_of(const char* text) { return text; }
  static std::string text_of(double number) { return std::to_string(number); }
  static std::string text_of(const ConstTensor& t) {
    return t.defined() ? t.shape_string() : "none";
  }
  template <std::integral Integer>
  static std::string text_of(Integer number) {
    return std::to_string(number);
  }
  [[noreturn]] void fail(const std::string& message) const;
  const char* op_;
};

}  // namespace strait::kernels
