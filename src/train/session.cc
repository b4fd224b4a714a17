#include "train/session.h"

#include <sched.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <set>

#include "config/compare.h"
#include "core/error.h"
#include "core/host_name.h"
#include "core/process_memory.h"
#include "io/checkpoint.h"
#include "io/hf_import.h"
#include "kernels/device_info.h"
#include "kernels/gemm_tuning.h"
#include "kernels/host_threads.h"
#include "train/load_config.h"
#include "train/loop.h"
#include "train/memory_check.h"
#include "train/plan.h"
#include "train/tune.h"

namespace strait::train {
namespace {

using parallel::Communicator;
using parallel::together;

config::Source source_of(const TrainOptions& options) {
  config::Source source = options.source;
  if (!source.name.empty()) return source;
  if (!holds_run(options.resume.dir)) refuse_resume(options.resume.dir);
  source.name = options.resume.dir + "/config.json";
  // The stored config is resolved for the ranks of its time; this job may have others.
  source.overrides.insert(source.overrides.begin(), "parallel.dp=0");
  return source;
}

/// Ranks that share this machine's memory.
int ranks_here(Communicator& world) {
  const std::string host = core::host_name();
  return static_cast<int>(std::ranges::count(world.gather_all(host), host));
}

/// Gives each rank its share of the cores it may use: those are divided among the ranks of this
/// machine that may use the same ones. Leaves OMP_NUM_THREADS to the user.
void share_cores(Communicator& world) {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  ::sched_getaffinity(0, sizeof allowed, &allowed);
  std::string mine = core::host_name();
  for (int core = 0; core < CPU_SETSIZE; ++core) mine += CPU_ISSET(core, &allowed) ? '1' : '0';
  const auto sharers = std::ranges::count(world.gather_all(mine), mine);
  if (std::getenv("OMP_NUM_THREADS")) return;
  kernels::set_host_threads(CPU_COUNT(&allowed) / static_cast<int>(sharers));
}

/// The device that run.device asks for or, left to the program, the best one that can do it.
Device choose_device(const config::Config& config, core::Log& log) {
  if (config.run.device == config::Device::cpu) return Device::cpu;
  if (config.run.device == config::Device::cuda) return Device::cuda;
  const bool doubles = config.precision.compute == config::Compute::f64;
  if (kernels::available(Device::cuda) && !doubles) return Device::cuda;
  if (!doubles && kernels::built(Device::cuda)) log.info("no usable GPU: runs on the CPU");
  return Device::cpu;
}

MemoryLimit memory_limit(Device device, int local_ranks) {
  if (device == Device::cpu) return {"this machine", core::available_bytes(), local_ranks};
  const kernels::DeviceInfo info = kernels::device_info(device);
  return {info.name, info.free_bytes, local_ranks};
}

RunFolder agree_on_folder(const config::Config& config, const TrainOptions& options, Device device,
                          Communicator& world) {
  RunFolder folder;
  together(world, [&] {
    if (world.rank() != 0) return;
    folder = choose_run_folder(config.run, options.resume);
    prepare_run_folder(folder, config::to_json(config), world.size(), kernels::device_info(device));
  });
  folder.path = world.broadcast(folder.path.string(), 0);
  folder.resumes = world.broadcast(folder.resumes ? "1" : "0", 0) == "1";
  return folder;
}

/// What a run may not change when it goes on: the model, the order of its data, its numbers, and
/// what the optimizer keeps.
constexpr std::string_view kFixedKeys[] = {
    "model",        "run.seed",           "data.tokenizer",   "data.seq_len",
    "data.packing", "data.document_mask", "train.batch_size", "precision",
    "optim.kind"};

void require_same_run(const std::filesystem::path& folder, const std::string& stored,
                      const config::Config& now) {
  const config::Config before = config::read_text(stored, folder.string() + "/state.json", {});
  const auto found = config::differences(before, now, kFixedKeys);
  if (found.empty()) return;
  std::string text = folder.string() + ": was made with another config:";
  for (const config::Difference& key : found) {
    text += "\n  " + key.path + " = " + key.now + ", was " + key.before;
  }
  throw core::InputError(text +
                         "\nset these back to resume, or start a new run in another run.dir");
}

/// The training tokens of a resumed run must be what they were; their files may have moved.
void require_same_data(const std::filesystem::path& folder, const std::string& stored,
                       const std::string& now) {
  if (stored.empty() || now.empty() || stored == now) return;
  throw core::InputError(folder.string() +
                         ": data.train: expected tokens and shares with the "
                         "fingerprint " +
                         stored + ", got " + now +
                         "; name the data the run was trained on, or start a new run in another "
                         "run.dir");
}

/// Where a run begins: nothing done, or the state of a checkpoint.
io::CheckpointState start_state(Engine& engine, const RunFolder& folder, const Data& data,
                                core::Log& log) {
  const config::Config& config = engine.config();
  if (folder.resumes) {
    const io::FoundCheckpoint found = io::find_checkpoint(folder.checkpoints());
    for (const std::string& reason : found.skipped) log.warn(reason);
    if (found.folder) {
      const io::CheckpointState state = io::read_checkpoint_state(*found.folder);
      require_same_run(*found.folder, state.config, config);
      require_same_data(*found.folder, state.data, data.fingerprint);
      io::load_checkpoint(*found.folder, engine.table(), engine.ctx().stream);
      log.info("resumes " + found.folder->string() + " after step " + std::to_string(state.step));
      return state;
    }
    log.warn(folder.checkpoints().string() + ": holds no complete checkpoint; starts at step 0");
  }
  if (!config.init.from.empty()) {
    for (const std::string& note : io::load_hf_weights(
             config::locate(config.init.from), engine.table(), config.model, engine.ctx().stream)) {
      log.info(note);
    }
  }
  return {};
}

/// How much of its memory the device has given away so far: to this process, on the cpu.
std::size_t memory_in_use(Device device) {
  if (device == Device::cpu) return core::peak_resident_bytes();
  const kernels::DeviceInfo info = kernels::device_info(device);
  return info.memory_bytes - info.free_bytes;
}

/// Says how the plan compares with what the run really took.
void report_memory(const StepPlan& plan, std::size_t growth, std::int64_t step, core::Log& log,
                   Metrics& metrics) {
  log.info("memory of rank 0: planned " + std::to_string(plan.total_bytes()) + " B, taken " +
           std::to_string(growth) + " B");
  metrics.memory(step, plan, growth);
}

/// Dense BF16 peak of the devices of all ranks, those that share one counted once; 0: not known.
double peak_of_all(Device device, Communicator& world) {
  const kernels::DeviceInfo info = kernels::device_info(device);
  const auto all = world.gather_all(core::host_name() + " " + info.id);
  const std::set<std::string> devices(all.begin(), all.end());
  return info.bf16_flops_per_second * static_cast<double>(devices.size());
}

void run(Engine& engine, Device device, const StepPlan& plan, const Data& data,
         const RunFolder& folder, const ProfileSteps& profile, core::Log& log) {
  Communicator& world = engine.ctx().groups.world();
  const std::size_t before = device == Device::cpu ? core::resident_bytes() : memory_in_use(device);
  io::CheckpointState state;
  std::unique_ptr<io::JsonLinesWriter> writer;
  together(world, [&] {
    engine.allocate(device);
    kernels::reserve_workspace(engine.ctx().stream, plan.workspace);
    state = start_state(engine, folder, data, log);
    if (world.rank() != 0) return;
    log.open_file(folder.log().string());
    writer = std::make_unique<io::JsonLinesWriter>(folder.metrics(), state.metrics_bytes);
  });
  log.info("run folder " + folder.path.string());
  const config::Config& config = engine.config();
  Metrics metrics(log, std::move(writer), config.train.steps, config.train.log_every);
  if (state.step > 0) metrics.event("resume", state.step, "");
  if (state.step >= config.train.steps) {
    log.info("all " + std::to_string(config.train.steps) + " steps are done; raise train.steps");
    return;
  }
  Loop({engine, data, folder, log, metrics, profile, peak_of_all(device, world)})
      .run(state.step, state.tokens);
  if (device == Device::cuda) log.info(kernels::gemm_summary());
  report_memory(plan, memory_in_use(device) - before, config.train.steps, log, metrics);
}

std::string describe(const Engine& engine, Device device, const StepPlan& plan, int ranks) {
  const auto counts = model::count_model(engine.config().model);
  char text[256];
  std::snprintf(text, sizeof text,
                "%.2fM parameters (%.2fM active), %d rank%s on %s, %lld x %lld tokens a step\n"
                "memory of a rank:\n",
                static_cast<double>(counts.parameters()) * 1e-6,
                static_cast<double>(counts.active()) * 1e-6, ranks, ranks == 1 ? "" : "s",
                device == Device::cuda ? "cuda" : "cpu",
                static_cast<long long>(engine.config().train.batch_size),
                static_cast<long long>(engine.config().data.seq_len));
  return text + memory_table(plan);
}

}  // namespace

void train(const TrainOptions& options, Communicator& world) {
  core::Log log(world.rank());
  config::Config config;
  Data data;
  together(world, [&] {
    // A dry run plans for machines other than this one.
    const bool cuda = options.dry_run || kernels::available(Device::cuda);
    config = load_config(source_of(options), world.size(), cuda);
    data = open_data(config);
  });
  const Device device = choose_device(config, log);
  const auto mesh = parallel::Mesh::make(config.parallel, world.rank(), world.size());
  parallel::Groups groups(mesh, world);
  std::unique_ptr<Engine> engine;
  StepPlan plan;
  const int local_ranks = ranks_here(world);
  share_cores(world);
  together(world, [&] {
    engine = std::make_unique<Engine>(config, mesh, groups);
    plan = plan_step(*engine);
    if (options.dry_run) return;
    // Reads every token, so that a bad one is found now.
    if (world.rank() == 0) data.fingerprint = input::fingerprint(data.dataset->train());
    require_memory(plan, memory_limit(device, local_ranks), config, mesh, groups);
  });
  if (options.dry_run) log.info(config::to_json(config));
  log.info(describe(*engine, device, plan, world.size()));
  if (!options.tune.empty()) {
    together(world, [&] {
      if (world.rank() == 0) tune_products(plan, options.tune, log);
    });
  }
  if (options.dry_run || !options.tune.empty()) return;
  const RunFolder folder = agree_on_folder(config, options, device, world);
  run(*engine, device, plan, data, folder, options.profile, log);
}

}  // namespace strait::train
