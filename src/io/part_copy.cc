#include "io/part_copy.h"

#include <string>

#include "core/error.h"

namespace strait::io {
namespace {

/// Visits the contiguous runs of a view in row-major order: visit(address, bytes).
template <class Visit>
void for_each_run(const Tensor& view, Visit&& visit) {
  int inner = view.rank;  // dims [inner, rank) are contiguous together
  std::int64_t run = 1;
  while (inner > 0 && (view.stride[inner - 1] == run || view.shape[inner - 1] == 1)) {
    run *= view.shape[--inner];
  }
  const auto element = static_cast<std::int64_t>(size_of(view.dtype));
  const std::int64_t runs = run == 0 ? 0 : view.numel() / run;
  for (std::int64_t index = 0; index < runs; ++index) {
    std::int64_t rest = index, offset = 0;
    for (int dim = inner - 1; dim >= 0; --dim) {
      offset += rest % view.shape[dim] * view.stride[dim];
      rest /= view.shape[dim];
    }
    visit(static_cast<std::byte*>(view.data) + offset * element,
          static_cast<std::size_t>(run * element));
  }
}

void check_size(const Tensor& view, std::size_t bytes) {
  if (view.bytes() != bytes) {
    throw core::RuntimeFault("copy of a tensor " + view.shape_string() + " needs " +
                             std::to_string(view.bytes()) + " bytes on the host, got " +
                             std::to_string(bytes));
  }
}

}  // namespace

std::vector<std::int64_t> shape_of(const Tensor& view) {
  return {view.shape.begin(), view.shape.begin() + view.rank};
}

Tensor whole_view(const core::Part& part, const Tensor& of_param) {
  const Tensor view = part.view(of_param);
  if (shape_of(view) != part.global_shape) {
    throw core::RuntimeFault("parameter " + part.name + " is sharded over ranks (" +
                             view.shape_string() + " here); files need it whole, use tp = ep = 1");
  }
  return view;
}

void enqueue_view_to_host(const Tensor& view, std::byte* host, const Stream& stream) {
  for_each_run(view, [&](const std::byte* from, std::size_t bytes) {
    kernels::copy_to_host(host, from, bytes, stream);
    host += bytes;
  });
}

void copy_view_to_host(const Tensor& view, std::span<std::byte> host, const Stream& stream) {
  check_size(view, host.size());
  enqueue_view_to_host(view, host.data(), stream);
  kernels::synchronise(stream);
}

void copy_host_to_view(std::span<const std::byte> host, const Tensor& view, const Stream& stream) {
  check_size(view, host.size());
  const std::byte* from = host.data();
  for_each_run(view, [&](std::byte* to, std::size_t bytes) {
    kernels::copy_to_device(to, from, bytes, stream);
    from += bytes;
  });
  kernels::synchronise(stream);
}

}  // namespace strait::io
