#include "train/host_copy.h"

#include <cstring>

#include "core/error.h"
#include "kernels/bf16.h"
#include "kernels/memory.h"

namespace strait::train {
namespace {

double element(const char* at, DType dtype) {
  const auto read = [&](auto value) {
    std::memcpy(&value, at, sizeof value);
    return value;
  };
  switch (dtype) {
    case DType::f64:
      return read(double{});
    case DType::f32:
      return read(float{});
    case DType::i32:
      return read(std::int32_t{});
    case DType::bf16:
      return kernels::float_of_bf16(read(std::uint16_t{}));
    default:
      throw core::RuntimeFault(std::string("a tensor of ") + kernels::name_of(dtype) +
                               " does not hold numbers that can be read as doubles");
  }
}

/// Elements from the first to the last of x, those between them that are not its own included.
std::size_t extent(const ConstTensor& x) {
  std::int64_t last = 0;
  for (int i = 0; i < x.rank; ++i) last += (x.shape[i] - 1) * x.stride[i];
  return static_cast<std::size_t>(last + 1);
}

/// Appends the elements of x, whose first lies at `from` on the host.
void append(const ConstTensor& x, const char* from, std::vector<double>& out) {
  const auto size = static_cast<std::int64_t>(size_of(x.dtype));
  const int last = x.rank - 1;
  std::array<std::int64_t, kernels::kMaxRank> at{};
  for (std::int64_t rows = x.numel() / x.shape[last]; rows > 0; --rows) {
    std::int64_t offset = 0;
    for (int i = 0; i < last; ++i) offset += at[i] * x.stride[i];
    for (std::int64_t j = 0; j < x.shape[last]; ++j) {
      out.push_back(element(from + (offset + j * x.stride[last]) * size, x.dtype));
    }
    for (int i = last - 1; i >= 0 && ++at[i] == x.shape[i]; --i) at[i] = 0;
  }
}

}  // namespace

std::vector<double> to_doubles(ConstTensor x, const Stream& stream) {
  std::vector<double> out;
  if (x.numel() == 0) return out;
  std::vector<char> host(extent(x) * size_of(x.dtype));
  kernels::copy_to_host(host.data(), x.data, host.size(), stream);
  kernels::synchronise(stream);
  out.reserve(static_cast<std::size_t>(x.numel()));
  append(x, host.data(), out);
  return out;
}

std::vector<double> to_doubles(ConstTensor x, const std::vector<std::int64_t>& rows,
                               const Stream& stream) {
  std::vector<double> out;
  if (rows.empty() || x.numel() == 0) return out;
  const ConstTensor row = x.slice(0, 0, 1);
  const std::size_t bytes = extent(row) * size_of(x.dtype);
  std::vector<char> host(bytes * rows.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    kernels::copy_to_host(host.data() + i * bytes, x.slice(0, rows[i], 1).data, bytes, stream);
  }
  kernels::synchronise(stream);
  out.reserve(rows.size() * static_cast<std::size_t>(row.numel()));
  for (std::size_t i = 0; i < rows.size(); ++i) append(row, host.data() + i * bytes, out);
  return out;
}

}  // namespace strait::train
