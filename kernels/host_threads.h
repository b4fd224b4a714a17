#pragma once

namespace strait::kernels {

/// Threads of the CPU backend in this process from now on (OpenMP and CBLAS); at least 1.
void set_host_threads(int threads);

}  // namespace strait::kernels
