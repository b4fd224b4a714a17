#pragma once

#include <exception>

#include "core/error.h"

namespace strait::core {

/// What a program exits with after `error` (not null): a failed check, bad input, or a fault.
ExitCode exit_code_of(const std::exception_ptr& error);

}  // namespace strait::core
