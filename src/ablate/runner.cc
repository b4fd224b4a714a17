#include "ablate/runner.h"

#include <signal.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <thread>

#include "config/data_list.h"
#include "config/load.h"
#include "core/error.h"
#include "core/files.h"
#include "core/stop_signal.h"

namespace strait::ablate {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr int kAttempts = 2;
constexpr std::chrono::milliseconds kBetweenPolls{20};
constexpr std::chrono::seconds kGrace{60};  // for a stopped process to save
constexpr std::size_t kSlimLines = 200;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

std::string joined(const std::vector<std::string>& list, std::size_t first, std::size_t count) {
  std::string text;
  for (std::size_t i = 0; i < count; ++i) {
    if (i > 0) text += ',';
    text += list[(first + i) % list.size()];
  }
  return text;
}

/// The last line of a log that says something.
std::string last_line(const fs::path& path) {
  std::ifstream in(path);
  std::string last = "no output";
  for (std::string line; std::getline(in, line);) {
    if (!line.empty()) last = line;
  }
  return last;
}

std::string outcome(const CellResult& result) {
  char text[160];
  std::snprintf(text, sizeof text, "%.4f nats, %.4f bits per byte, %.0f tok/s, %.0f s",
                result.val_loss, result.val_bpb, result.tok_s, result.wall_s);
  return text;
}

/// Without its data every cell would fail, one after the other.
void require_data(const Cell& cell) {
  const config::Data& data = cell.config.data;
  for (const auto& [key, list] : {std::pair{"data.train", data.train}, {"data.val", data.val}}) {
    if (list == config::kRandomTokens) continue;
    for (const config::DataPart& part : config::data_parts(list)) {
      const std::string why = config::why_no_data(part.path);
      if (why.empty()) continue;
      throw core::InputError(cell.name() + ": " + key + " = \"" + part.path + "\": " + why +
                             "; prepare it (data/README.md), or name what there is with --set " +
                             key + "=PATH");
    }
  }
}

}  // namespace

Runner::Runner(fs::path folder, fs::path results, RunOptions options, core::Log& log)
    : folder_(std::move(folder)),
      results_(std::move(results)),
      options_(std::move(options)),
      log_(log),
      costs_(options_.flops_per_second, options_.jobs) {
  make_slots();
}

void Runner::make_slots() {
  const std::vector<std::string>& gpus = options_.gpus;
  const auto ranks = static_cast<std::size_t>(options_.ranks);
  const std::size_t each = gpus.empty() ? 0 : std::min(ranks, gpus.size());
  const std::size_t groups = gpus.empty() ? 1 : gpus.size() / each;
  for (std::int64_t job = 0; job < options_.jobs; ++job) {
    for (std::size_t g = 0; g < groups; ++g) slots_.push_back({joined(gpus, g * each, each)});
  }
}

const CellResult* Runner::result(const Cell& cell) const {
  const auto found = ended_.find(cell.name());
  return found == ended_.end() ? nullptr : &found->second;
}

/// Refuses what was begun here with another config.
void Runner::require_same(const Cell& cell) const {
  const fs::path given = folder_ / (cell.name() + ".json");
  std::error_code ignored;
  if (!fs::exists(given, ignored)) return;
  const config::Config before = config::read_text(core::read_file(given), given.string(), {});
  const std::string was = identity(before), is = identity(cell.config);
  if (was == is) return;
  throw core::InputError((folder_ / cell.path).string() +
                         ": was made with another config: " + difference(was, is) +
                         "; set it back, choose another folder with --out, or remove this cell");
}

void Runner::accept_one(const Cell& cell) {
  if (ended_.contains(cell.name())) return;
  require_same(cell);
  auto own = read_cell(folder_ / cell.path);
  if (own && own->done && own->hash != cell.hash) {
    throw core::InputError((folder_ / cell.path).string() + ": holds cell " + own->hash +
                           " of another config, expected " + cell.hash +
                           "; choose another folder with --out, or remove this cell");
  }
  if (!(own && own->done) && !results_.empty()) {
    const auto known = read_cell(results_ / cell.path);
    if (known && known->done && known->hash == cell.hash) {
      copy_slim(results_ / cell.path, folder_ / cell.path, kSlimLines);
      own = known;
    } else if (known && known->done) {
      log_.warn((results_ / cell.path).string() + ": of another config, runs again");
    }
  }
  if (!own || !own->done) return;
  costs_.add(cell, *own);
  ended_.emplace(cell.name(), *own);
}

void Runner::accept(const std::vector<Cell>& cells) {
  for (const Cell& cell : cells) accept_one(cell);
}

void Runner::require_device(const Cell& cell) const {
  const bool wanted = options_.device.empty() ? cell.config.run.device == config::Device::cuda
                                              : options_.device == "cuda";
  if (options_.no_gpu.empty() || (!wanted && options_.gpus.empty())) return;
  throw core::InputError(cell.name() + ": " +
                         (wanted ? "run.device = \"cuda\"" : "--gpus names GPUs") + ", but " +
                         options_.no_gpu);
}

void Runner::run(const std::vector<Cell>& cells) {
  accept(cells);
  std::deque<Waiting> waiting;
  for (const Cell& cell : cells) {
    if (result(cell)) continue;
    require_device(cell);
    require_data(cell);
    waiting.push_back({&cell, 1});
  }
  to_end_ = waiting.size();
  while ((!waiting.empty() || !running_.empty()) && !stopped_) {
    begin_some(waiting);
    if (running_.empty()) break;  // nothing that is left fits
    poll(waiting);
    std::this_thread::sleep_for(kBetweenPolls);
    if (!core::stop_signal().empty()) stop_all();
  }
  left_out_ += waiting.size();
}

bool Runner::fits(const Cell& cell) const {
  if (options_.time_limit_s <= 0) return true;
  return seconds_since(begin_) + costs_.seconds(cell) <= options_.time_limit_s;
}

void Runner::begin_some(std::deque<Waiting>& waiting) {
  for (Slot& slot : slots_) {
    if (slot.busy) continue;
    const auto next =
        std::ranges::find_if(waiting, [&](const Waiting& w) { return fits(*w.cell); });
    if (next == waiting.end()) return;
    begin(*next, slot);
    waiting.erase(next);
  }
}

Command Runner::command_of(const Cell& cell, const Slot& slot) const {
  const std::string path = (folder_ / cell.path).string();
  Command command;
  if (options_.ranks > 1) {
    command.arguments = {"mpirun", "-n", std::to_string(options_.ranks), "--bind-to", "none"};
  }
  for (const std::string& argument :
       {options_.train, std::string("--config"), path + ".json", std::string("--set"),
        "run.dir=" + path, std::string("--resume"), std::string("auto")}) {
    command.arguments.push_back(argument);
  }
  if (!options_.device.empty()) {
    command.arguments.insert(command.arguments.end(), {"--set", "run.device=" + options_.device});
  }
  if (!slot.gpus.empty()) command.environment.emplace_back("CUDA_VISIBLE_DEVICES", slot.gpus);
  if (!std::getenv("OMP_NUM_THREADS")) {
    const auto sharers = static_cast<std::int64_t>(slots_.size()) * options_.ranks;
    const std::int64_t threads = std::max<std::int64_t>(options_.cores / sharers, 1);
    command.environment.emplace_back("OMP_NUM_THREADS", std::to_string(threads));
  }
  command.output = path + ".log";
  return command;
}

void Runner::begin(const Waiting& waiting, Slot& slot) {
  const Cell& cell = *waiting.cell;
  const fs::path path = folder_ / cell.path;
  fs::create_directories(path.parent_path());
  core::write_file_atomically(path.string() + ".json",
                              [&](std::ostream& out) { out << config::to_json(cell.config); });
  std::error_code ignored;
  const bool resumed = fs::exists(path / "config.json", ignored);
  running_.push_back({&cell, waiting.attempt, &slot, Child(command_of(cell, slot)), utc_time(),
                      Clock::now(), resumed});
  slot.busy = true;
  log_.info(cell.name() + (resumed ? " goes on" : " starts") +
            (slot.gpus.empty() ? "" : " on GPU " + slot.gpus));
}

void Runner::poll(std::deque<Waiting>& waiting) {
  for (auto at = running_.begin(); at != running_.end();) {
    const auto code = at->child.poll();
    if (!code) {
      ++at;
      continue;
    }
    at->slot->busy = false;
    if (end(*at, *code)) waiting.push_front({at->cell, at->attempt + 1});
    at = running_.erase(at);
  }
}

bool Runner::end(Running& running, int exit_code) {
  const Cell& cell = *running.cell;
  const fs::path path = folder_ / cell.path;
  CellResult result = read_run(path, cell);
  if (!result.done && stopped_) return false;  // goes on another time
  result.exit_code = exit_code;
  result.attempts = running.attempt;
  result.wall_s = seconds_since(running.begin);
  result.jobs_per_gpu = options_.jobs;
  result.started = running.started;
  result.ended = utc_time();
  if (!result.done) {
    if (result.error.empty()) result.error = last_line(path.string() + ".log");
    log_.warn(cell.name() + ": exit code " + std::to_string(exit_code) + ": " + result.error);
    // Bad input stays bad.
    if (running.attempt < kAttempts && exit_code != core::kBadInput) return true;
    failures_.push_back(cell.name() + ": " + result.error);
  }
  --to_end_;
  write_cell(path, cell, result);
  if (result.done && !running.resumed) costs_.add(cell, result);
  ended_.insert_or_assign(cell.name(), result);
  if (!result.done) return false;
  log_.info(cell.name() + ": " + outcome(result) + " (" + std::to_string(to_end_) + " to go)");
  if (options_.publish && !results_.empty()) copy_slim(path, results_ / cell.path, kSlimLines);
  return false;
}

void Runner::stop_all() {
  stopped_ = true;
  log_.warn(core::stop_signal() + ": the running cells save and end; start again to go on");
  for (const Running& running : running_) running.child.signal(SIGTERM);
  const Clock::time_point begin = Clock::now();
  std::deque<Waiting> none;
  while (!running_.empty() && Clock::now() - begin < kGrace) {
    poll(none);
    std::this_thread::sleep_for(kBetweenPolls);
  }
  running_.clear();
}

}  // namespace strait::ablate
