#pragma once

#include <bitset>

namespace strait::core {

/// The cores, by number, that a process may run on; 0: this one. None where nobody says.
std::bitset<1024> cores_of(int process = 0);

}  // namespace strait::core
