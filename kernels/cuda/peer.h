#pragma once

#include <string>

#include "kernels/stream.h"

// What stands behind kernels/peer.h.
namespace strait::kernels::cuda {

std::string export_block(void* block) noexcept;
void* open_block(const std::string& exported) noexcept;
void close_block(void* block) noexcept;
void await_flag(void* flag, const Stream& stream);

}  // namespace strait::kernels::cuda
