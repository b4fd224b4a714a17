#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "core/param_table.h"

// Parts of parameters live on the device and may be strided; files hold them contiguous.
namespace strait::io {

/// A view's shape as files write it.
std::vector<std::int64_t> shape_of(const Tensor& view);

/// The part's view of one of its parameter's tensors. Throws RuntimeFault when this rank holds only
/// a shard of it: files hold whole parts.
Tensor whole_view(const core::Part& part, const Tensor& of_param);

/// Copies a view to contiguous host memory of the same dtype and size, or back. The last dim must
/// be contiguous. Both wait for the copies to end.
void copy_view_to_host(const Tensor& view, std::span<std::byte> host, const Stream& stream);
/// As the first, without the wait; `host` takes view.bytes().
void enqueue_view_to_host(const Tensor& view, std::byte* host, const Stream& stream);
void copy_host_to_view(std::span<const std::byte> host, const Tensor& view, const Stream& stream);

}  // namespace strait::io
