#include "tests/golden/case.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "io/json_text.h"
#include "io/part_copy.h"
#include "tests/support/tensors.h"

namespace strait::golden {

std::vector<double> read_floats(const io::SafetensorsReader& file, const std::string& name,
                                const std::vector<std::int64_t>& shape) {
  const auto fail = [&](const std::string& why) {
    throw core::InputError(file.origin() + ": " + io::printable(name) + " " + why);
  };
  if (file.info(name).shape != shape) {
    fail("is " + io::describe(file.info(name)) + ", expected " + io::describe(shape));
  }
  std::vector<double> values = file.read<double>(name);
  if (!std::ranges::all_of(values, [](double x) { return std::isfinite(x); })) {
    fail("holds values that are not finite; make the case again");
  }
  return values;
}

std::vector<double> download(const ConstTensor& tensor, const Stream& stream) {
  Tensor view;  // that copy_view_to_host only reads
  view.data = const_cast<void*>(tensor.data);
  view.dtype = tensor.dtype;
  view.rank = tensor.rank;
  view.shape = tensor.shape;
  view.stride = tensor.stride;
  if (tensor.dtype == DType::bf16) {
    std::vector<std::uint16_t> host(static_cast<std::size_t>(view.numel()));
    io::copy_view_to_host(view, std::as_writable_bytes(std::span(host)), stream);
    std::vector<double> values;
    for (const std::uint16_t bits : host) values.push_back(test::from_bf16(bits));
    return values;
  }
  const auto read = [&]<class Real>(Real) {
    std::vector<Real> host(static_cast<std::size_t>(view.numel()));
    io::copy_view_to_host(view, std::as_writable_bytes(std::span(host)), stream);
    return std::vector<double>(host.begin(), host.end());
  };
  return tensor.dtype == DType::f64 ? read(double{}) : read(float{});
}

void upload(std::span<const double> values, const Tensor& tensor, const Stream& stream) {
  const auto write = [&]<class Real>(Real) {
    const std::vector<Real> host(values.begin(), values.end());
    io::copy_host_to_view(std::as_bytes(std::span(host)), tensor, stream);
  };
  if (tensor.dtype == DType::f64) {
    write(double{});
  } else if (tensor.dtype == DType::bf16) {
    std::vector<std::uint16_t> host;
    for (const double value : values) host.push_back(test::to_bf16(value));
    io::copy_host_to_view(std::as_bytes(std::span(host)), tensor, stream);
  } else {
    write(float{});
  }
}

}  // namespace strait::golden
