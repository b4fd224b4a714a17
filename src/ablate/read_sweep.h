#pragma once

#include <string>

#include "ablate/sweep.h"

namespace strait::ablate {

/// Reads a sweep from JSON text (configs/ablations/README.md has every key). `size` chooses among
/// `sizes`, whose members lie over the others; empty: the file's own `size`. What is wrong is an
/// InputError with the path, the value, what was expected and the nearest valid key. Keys of
/// configs are checked by expand().
Sweep read_sweep(const std::string& json, const std::string& origin, const std::string& size);

}  // namespace strait::ablate
