#include "kernels/check.h"

#include <cstdint>

namespace strait::kernels {
namespace {

/// Bytes from the first element to past the last one over dims [from, rank); 0 when empty.
std::uint64_t extent(const ConstTensor& t, int from) {
  std::int64_t last = 0;
  for (int i = from; i < t.rank; ++i) {
    if (t.shape[i] == 0) return 0;
    last += (t.shape[i] - 1) * t.stride[i];
  }
  return static_cast<std::uint64_t>(last + 1) * size_of(t.dtype);
}

bool empty(const ConstTensor& t) {
  return !t.defined() || t.numel() == 0;
}

bool overlap(const ConstTensor& a, const ConstTensor& b) {
  if (empty(a) || empty(b)) return false;
  const auto a_begin = reinterpret_cast<std::uintptr_t>(a.data);
  const auto b_begin = reinterpret_cast<std::uintptr_t>(b.data);
  if (a_begin + extent(a, 0) <= b_begin || b_begin + extent(b, 0) <= a_begin) return false;
  if (a.rank < 2 || b.rank < 2) return true;
  const auto pitch = static_cast<std::uint64_t>(a.stride[0]) * size_of(a.dtype);
  if (pitch == 0 || pitch != static_cast<std::uint64_t>(b.stride[0]) * size_of(b.dtype)) {
    return true;
  }
  // Rows of both repeat every `pitch` bytes: b's columns must fit between a's.
  const std::uint64_t gap = b_begin >= a_begin ? (b_begin - a_begin) % pitch
                                               : (pitch - (a_begin - b_begin) % pitch) % pitch;
  return gap < extent(a, 1) || gap + extent(b, 1) > pitch;
}

bool same_view(const ConstTensor& a, const ConstTensor& b) {
  if (a.data != b.data || a.dtype != b.dtype || a.rank != b.rank) return false;
  for (int i = 0; i < a.rank; ++i) {
    if (a.shape[i] != b.shape[i]) return false;
    if (a.shape[i] > 1 && a.stride[i] != b.stride[i]) return false;
  }
  return true;
}

std::string dims_string(std::initializer_list<std::int64_t> dims) {
  std::string out = "[";
  const char* separator = "";
  for (std::int64_t size : dims) {
    out += separator + (size == Checker::kAny ? std::string("*") : std::to_string(size));
    separator = ", ";
  }
  return out + "]";
}

}  // namespace

void Checker::shape(const char* field, const ConstTensor& t,
                    std::initializer_list<std::int64_t> dims) const {
  if (!t.defined()) {
    fail(std::string(field) + ": expected " + dims_string(dims) + ", got an absent tensor; set it");
  }
  bool ok = t.rank == static_cast<int>(dims.size());
  int i = 0;
  for (std::int64_t size : dims) {
    if (ok && size != kAny && t.shape[i] != size) ok = false;
    ++i;
  }
  if (!ok) {
    fail(std::string(field) + ": expected shape " + dims_string(dims) + ", got " +
         t.shape_string() + "; pass a view of the expected shape");
  }
  const int last = t.rank - 1;
  if (last >= 0 && t.shape[last] > 1 && t.stride[last] != 1) {
    fail(std::string(field) + ": expected a contiguous last dim, got stride " +
         std::to_string(t.stride[last]) + " in " + t.shape_string() + "; copy it first");
  }
}

void Checker::optional_shape(const char* field, const ConstTensor& t,
                             std::initializer_list<std::int64_t> dims) const {
  if (t.defined()) shape(field, t, dims);
}

void Checker::dtype(const char* field, const ConstTensor& t, DType expected) const {
  if (!t.defined() || t.dtype == expected) return;
  fail(std::string(field) + ": expected dtype " + name_of(expected) + ", got " + t.shape_string() +
       "; convert it with Copy or allocate it as " + name_of(expected));
}

void Checker::compute_dtype(const char* field, const ConstTensor& t) const {
  if (!t.defined() || t.dtype == DType::f64 || t.dtype == DType::f32 || t.dtype == DType::bf16) {
    return;
  }
  fail(std::string(field) + ": expected dtype f64, f32 or bf16, got " + t.shape_string() +
       "; allocate it in the compute dtype");
}

void Checker::wide_dtype(const char* field, const ConstTensor& t, DType compute) const {
  if (t.defined() && t.dtype == compute) return;
  dtype(field, t, stat_dtype(compute));
}

void Checker::contiguous(const char* field, const ConstTensor& t) const {
  if (!t.defined() || t.contiguous()) return;
  fail(std::string(field) + ": expected a contiguous tensor, got strided " + t.shape_string() +
       "; copy it first");
}

void Checker::disjoint(const char* field, const ConstTensor& out, const char* other_field,
                       const ConstTensor& other) const {
  if (!overlap(out, other)) return;
  fail(std::string(field) + ": " + out.shape_string() + " overlaps " + other_field + " " +
       other.shape_string() + "; give " + field + " memory of its own");
}

void Checker::same_or_disjoint(const char* field, const ConstTensor& out, const char* other_field,
                               const ConstTensor& other) const {
  if (!same_view(out, other)) disjoint(field, out, other_field, other);
}

void Checker::fail(const std::string& message) const {
  throw OpError(std::string(op_) + ": " + message);
}

}  // namespace strait::kernels
