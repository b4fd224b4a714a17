#pragma once

#include "kernels/stream.h"

// What stands behind kernels/profile.h.
namespace strait::kernels::cuda {

void push_range(const char* name);
void pop_range() noexcept;

void open_profile_window();
void close_profile_window();

/// An event at the end of what is enqueued on `stream`, to be released by its owner.
void* mark_time(const Stream& stream);
void release_mark(void* event) noexcept;
/// Waits for `to`.
double seconds_between(void* from, void* to);

}  // namespace strait::kernels::cuda
