#pragma once

#include <cstddef>

namespace strait::core {

/// Resident memory of this process in bytes, now and at its highest; 0 where the system does not
/// say.
std::size_t resident_bytes();
std::size_t peak_resident_bytes();

/// Memory that programs may still take on this machine; 0 where the system does not say.
std::size_t available_bytes();

}  // namespace strait::core
