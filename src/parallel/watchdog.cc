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
#include "parallel/missing_rank.h"

namespace strait::parallel {
namespace {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

constexpr std::chrono::milliseconds kBetween{100};

/// What a rank shows. Written by its watchdog alone, or by the one that hears of its host; a torn
/// text is harmless.
struct Slot {
  std::atomic<std::int64_t> process, beat, step, call;
  std::atomic<bool> waiting, finished;
  char what[64];

  void write(const Sign& sign) {
    step = sign.step;
    call = sign.call;
    waiting = sign.waiting;
    finished = sign.finished;
    std::memcpy(what, sign.what, sizeof what);
    beat = sign.beat;
  }
  Sign read() const {
    Sign sign{.beat = beat, .step = step, .call = call, .waiting = waiting, .finished = finished};
    std::memcpy(sign.what, what, sizeof what);
    return sign;
  }
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

/// Slots of all ranks of the world; the first rank of a host fills in those of other hosts.
struct Watchdog::Board {
  std::vector<std::string> hosts;
  std::string host;
  HostSigns signs;
  Slot* slots = nullptr;
  std::vector<std::int64_t> beats;
  std::vector<Clock::time_point> seen;

  Board(Communicator& world, const HostIdentity& own)
      : hosts(world.gather_all(own.name)), host(own.name), signs(world, hosts, own.address) {
    const std::string run = world.broadcast(std::to_string(::getpid()) + hosts[0], 0);
    const std::string name = "/strait." + run + "." + host;
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

  /// All ranks as they show themselves at `now`; a beat that is new counts from there.
  std::vector<RankView> views(Clock::time_point now) {
    std::vector<RankView> found(hosts.size());
    for (std::size_t rank = 0; rank < hosts.size(); ++rank) {
      RankView& view = found[rank];
      view.sign = slots[rank].read();
      view.here = hosts[rank] == host;
      const auto process = static_cast<pid_t>(slots[rank].process.load());
      view.ended = process > 0 && ::kill(process, 0) != 0 && errno == ESRCH;
      if (view.sign.beat != beats[rank]) {
        beats[rank] = view.sign.beat;
        seen[rank] = now;
      }
      view.silent = now - seen[rank];
    }
    return found;
  }
};

Watchdog::Watchdog(Communicator& world, Seconds limit, const HostIdentity& host)
    : traffic_(world.traffic()), rank_(world.rank()), limit_(limit) {
  if (world.alone() || limit.count() <= 0) return;
  board_ = std::make_unique<Board>(world, host);
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
  for (int again = 0; again < 3; ++again) show(true);  // datagrams may be lost
}

void Watchdog::show(bool finished) const {
  const Traffic::Call last = traffic_.last();
  Slot& slot = board_->slots[rank_];
  Sign sign{.beat = slot.beat + 1,
            .step = last.step,
            .call = last.call,
            .waiting = last.waiting,
            .finished = finished};
  std::strncpy(sign.what, last.what.c_str(), sizeof sign.what - 1);
  slot.write(sign);
  board_->signs.send(sign);
}

void Watchdog::hear() const {
  board_->signs.receive([&](int rank, const Sign& sign) {
    const auto i = static_cast<std::size_t>(rank);
    if (i < board_->hosts.size() && board_->hosts[i] != board_->host) board_->slots[i].write(sign);
  });
}

std::string Watchdog::of_rank(int rank) const {
  const Slot& slot = board_->slots[rank];
  std::string text = "rank " + std::to_string(rank) + " on " + board_->hosts[rank];
  if (slot.beat == 0) return text;
  const std::string doing = slot.waiting ? "waiting in" : "after";
  return text + " (step " + std::to_string(slot.step) + ", " + doing + " collective " +
         std::to_string(slot.call) + " \"" + slot.what + "\")";
}

std::string Watchdog::verdict() const {
  const auto now = Clock::now();
  const Traffic::Call own = traffic_.last();
  const std::optional<MissingRanks> missing = find_missing(
      board_->views(now), rank_, own.waiting ? Seconds(now - own.since) : Seconds(0), limit_);
  if (!missing) return "";
  std::string text;
  for (const int rank : missing->ranks) text += (text.empty() ? "" : ", ") + of_rank(rank);
  return (text.empty() ? "a rank of another host" : text) + " " + missing->why;
}

void Watchdog::watch() {
  while (!done_) {
    std::this_thread::sleep_for(kBetween);
    show();
    hear();
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
