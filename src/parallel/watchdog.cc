#include "parallel/watchdog.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <vector>

#include "core/error.h"
#include "core/exit_code.h"
#include "core/host_name.h"

namespace strait::parallel {
namespace {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

constexpr std::chrono::milliseconds kBetween{100};

/// What a rank shows. Written by its watchdog alone; a torn text is harmless.
struct Slot {
  std::atomic<std::int64_t> process, beat, step, call;
  std::atomic<bool> waiting, finished;
  char what[64];
};

/// The signal by which a launcher ends the other ranks must not end this one before it has said
/// why, unless the program handles the signal itself.
std::atomic<int> g_ended_by{0};

void remember(int signal) {
  g_ended_by = signal;
}

void hold_termination() {
  struct sigaction now = {};
  sigaction(SIGTERM, nullptr, &now);
  if (now.sa_handler != SIG_DFL) return;
  now.sa_handler = remember;
  sigaction(SIGTERM, &now, nullptr);
}

}  // namespace

/// Slots of all ranks of the world; those of other hosts stay empty.
struct Watchdog::Board {
  std::vector<std::string> hosts;
  std::string host = core::host_name();
  Slot* slots = nullptr;
  std::vector<std::int64_t> beats;
  std::vector<Clock::time_point> seen;

  explicit Board(Communicator& world) : hosts(world.gather_all(core::host_name())) {
    const std::string name = "/strait." + world.broadcast(std::to_string(::getpid()) + hosts[0], 0);
    const std::size_t bytes = sizeof(Slot) * hosts.size();
    const int file = ::shm_open(name.c_str(), O_CREAT | O_RDWR, 0600);
    const bool sized = file >= 0 && ::ftruncate(file, static_cast<off_t>(bytes)) == 0;
    void* memory =
        sized ? ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0) : MAP_FAILED;
    if (file >= 0) ::close(file);
    together(world, [&] {
      if (memory == MAP_FAILED) {
        throw core::RuntimeFault("watchdog: no shared memory " + name + " on " + host + ": " +
                                 std::strerror(errno) + "; set parallel.watchdog_seconds to 0");
      }
    });
    world.barrier();
    ::shm_unlink(name.c_str());
    slots = static_cast<Slot*>(memory);
    beats.assign(hosts.size(), 0);
    seen.assign(hosts.size(), Clock::now());
  }
  ~Board() { ::munmap(slots, sizeof(Slot) * hosts.size()); }
  Board(const Board&) = delete;
  Board& operator=(const Board&) = delete;
};

Watchdog::Watchdog(Communicator& world, Seconds limit)
    : traffic_(world.traffic()), rank_(world.rank()), limit_(limit) {
  if (world.alone() || limit.count() <= 0) return;
  board_ = std::make_unique<Board>(world);
  board_->slots[rank_].process = ::getpid();
  show();
  world.barrier();
  hold_termination();
  thread_ = std::thread([this] { watch(); });
}

Watchdog::~Watchdog() {
  if (!board_) return;
  done_ = true;
  thread_.join();
  board_->slots[rank_].finished = true;
}

void Watchdog::show() const {
  const Traffic::Call last = traffic_.last();
  Slot& slot = board_->slots[rank_];
  slot.step = last.step;
  slot.call = last.call;
  slot.waiting = last.waiting;
  std::strncpy(slot.what, last.what.c_str(), sizeof slot.what - 1);
  ++slot.beat;
}

std::string Watchdog::of_rank(int rank) const {
  const Slot& slot = board_->slots[rank];
  std::string text = "rank " + std::to_string(rank) + " on " + board_->hosts[rank];
  if (board_->hosts[rank] != board_->host) return text;
  const std::string doing = slot.waiting ? "waiting in" : "after";
  return text + " (step " + std::to_string(slot.step) + ", " + doing + " collective " +
         std::to_string(slot.call) + " \"" + slot.what + "\")";
}

std::string Watchdog::verdict() const {
  const auto now = Clock::now();
  const Traffic::Call own = traffic_.last();
  const bool overdue = own.waiting && now - own.since > limit_;
  std::string behind;
  for (int rank = 0; rank < static_cast<int>(board_->hosts.size()); ++rank) {
    const Slot& slot = board_->slots[rank];
    if (rank == rank_ || board_->hosts[rank] != board_->host || slot.finished) continue;
    const auto process = static_cast<pid_t>(slot.process.load());
    if (process > 0 && ::kill(process, 0) != 0 && errno == ESRCH) return of_rank(rank) + " ended";
    if (slot.beat != board_->beats[rank]) {
      board_->beats[rank] = slot.beat;
      board_->seen[rank] = now;
    } else if (now - board_->seen[rank] > limit_) {
      return of_rank(rank) + " gives no sign of life";
    }
    if (overdue && !slot.waiting) behind += (behind.empty() ? "" : ", ") + of_rank(rank);
  }
  if (!overdue) return "";
  const std::string others = behind.empty() ? "a rank of another host" : behind;
  return others + " does not come to where others wait";
}

void Watchdog::watch() {
  while (!done_) {
    std::this_thread::sleep_for(kBetween);
    show();
    std::string why = verdict();
    if (why.empty() && g_ended_by != 0) {
      // The launcher may know of an ended rank before its process is gone.
      std::this_thread::sleep_for(5 * kBetween);
      why = verdict();
      if (why.empty()) {
        ::signal(SIGTERM, SIG_DFL);
        ::raise(SIGTERM);
      }
    }
    if (why.empty()) continue;
    std::fprintf(stderr, "error: %s; %s stops (limit %.0f s, parallel.watchdog_seconds)\n",
                 why.c_str(), of_rank(rank_).c_str(), limit_.count());
    std::fflush(stderr);
    ::_exit(core::kRuntimeFault);
  }
}

}  // namespace strait::parallel
