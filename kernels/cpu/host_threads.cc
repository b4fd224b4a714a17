#include "kernels/host_threads.h"

#include <omp.h>

#include <algorithm>

namespace strait::kernels {

void set_host_threads(int threads) {
  omp_set_num_threads(std::max(threads, 1));
}

}  // namespace strait::kernels
