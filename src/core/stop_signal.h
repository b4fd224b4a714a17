#pragma once

#include <string>

namespace strait::core {

/// From now on SIGTERM, SIGINT and SIGUSR1 only leave a note for stop_signal(); a second one ends
/// the process at once, as it would have without this.
void watch_stop_signals();

/// Name of the signal that came first ("SIGTERM"); empty: none came.
std::string stop_signal();

}  // namespace strait::core
