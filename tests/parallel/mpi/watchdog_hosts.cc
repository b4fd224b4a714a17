#include <chrono>
#include <csignal>
#include <cstdio>
#include <thread>

#include "parallel/comm_mpi.h"
#include "parallel/watchdog.h"

// Under mpirun with two ranks that take themselves for different hosts: the second one stops, and
// the first, which waits for it, must say who does not live and where that was.
int main(int argc, char** argv) {
  namespace parallel = strait::parallel;
  parallel::MpiSession mpi(&argc, &argv);
  parallel::Communicator& world = mpi.world();
  const parallel::HostIdentity host{world.rank() == 0 ? "left" : "right", "127.0.0.1"};
  const parallel::Watchdog watchdog(world, std::chrono::duration<double>(2), host);
  double x = 1;
  const strait::Tensor one(&x, strait::DType::f64, {1});
  world.traffic().at_step(7);
  world.all_reduce_sum(one, strait::Stream{}, "first sum");
  std::this_thread::sleep_for(std::chrono::milliseconds(500));  // so that this is told
  if (world.rank() == 1) std::raise(SIGSTOP);
  world.all_reduce_sum(one, strait::Stream{}, "second sum");
  if (world.rank() == 0) std::puts("nobody was missed");
  return 1;
}
