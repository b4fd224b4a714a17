#pragma once

#include <exception>

#include "core/error.h"

namespace strait::core {

/// What a program exits with after `error` (not null): bad input, or a fault at run time.
ExitCode exit_code_of(const std::exception_ptr& error);

}  // namespace strait::core
