#include "train/session.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <set>

#include "core/error.h"
#include "core/host_name.h"
#include "core/process_memory.h"
#include "core/stop_signal.h"
#include "kernels/device_info.h"
#include "kernels/gemm_tuning.h"
#include "kernels/host_threads.h"
#include "parallel/agreement.h"
#include "parallel/comm_nccl.h"
#include "parallel/core_share.h"
#include "parallel/device_share.h"
#include "parallel/watchdog.h"
#include "train/evaluate_all.h"
#include "train/load_config.h"
#include "train/loop.h"
#include "train/memory_check.h"
#include "train/plan.h"
#include "train/run_lock.h"
#include "train/start_state.h"
#include "train/tune.h"
#include "train/verify_resume.h"

namespace strait::train {
namespace {

using parallel::Communicator;
using parallel::together;

config::Source source_of(const TrainOptions& options) {
  config::Source source = options.source;
  if (!source.name.empty()) return source;
  if (!holds_run(options.resume.dir)) refuse_resume(options.resume.dir);
  source.name = options.resume.dir + "/config.json";
  if (!std::filesystem::exists(source.name)) {
    throw core::InputError(source.name + ": is missing; name the run's config with --config");
  }
  source.stored = true;
  return source;
}

/// Gives each rank its share of the cores it may use. Leaves OMP_NUM_THREADS to the user.
void share_cores(const parallel::HostRanks& here, Communicator& world, core::Log& log) {
  const parallel::CoreShare share = parallel::share_cores(here, world);
  const std::string bound = parallel::bound_too_tightly(share);
  if (!bound.empty()) log.warn(bound);
  if (!std::getenv("OMP_NUM_THREADS")) kernels::set_host_threads(share.cores / share.sharers);
}

/// Refuses ranks of another build or config than rank 0's.
void agree(const config::Config& config, Communicator& world) {
  if (world.alone()) return;
  parallel::require_same(world, "program", parallel::program_identity(),
                         "install one build on all hosts");
  parallel::require_same(world, "config", config::to_json(config),
                         "give every rank the same files and options");
}

/// Says where ranks meet and, once for a host, what to do where that is slow.
void report_share(const parallel::DeviceShare& share, core::Log& log) {
  if (share.own_gpus) return log.info("ranks meet by NCCL " + parallel::nccl_version());
  log.info("ranks meet in host memory (MPI)");
  if (share.here.place > 0) return;
  if (share.here.ranks > share.devices) {
    log.warn(std::to_string(share.here.ranks) + " ranks share " + std::to_string(share.devices) +
             " GPU" + (share.devices == 1 ? "" : "s") + " of " + share.here.host +
             " and meet in host memory, which is slow; for a rank a GPU: mpirun -n " +
             std::to_string(share.devices) + " ./train ...");
  } else if (parallel::nccl_version().empty()) {
    log.warn("libnccl.so.2 is not found on " + share.here.host +
             ", host memory is slow; install NCCL or name its folder in LD_LIBRARY_PATH");
  }
}

/// Warns of a mesh that the hosts of its ranks do not suit.
void report_mesh(const parallel::Mesh& mesh, const parallel::HostRanks& here, int rank,
                 core::Log& log) {
  const std::string found = parallel::apart(mesh, here.hosts);
  if (!found.empty() && rank == 0) log.warn(found);
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

MemoryLimit memory_limit(Device device, int sharers) {
  if (device == Device::cpu) return {"this machine", core::available_bytes(), sharers};
  const kernels::DeviceInfo info = kernels::device_info(device);
  return {info.name, info.free_bytes, sharers};
}

/// The folder that rank 0 chooses.
RunFolder agree_on_folder(const config::Config& config, const TrainOptions& options,
                          Communicator& world) {
  RunFolder folder;
  together(world, [&] {
    if (world.rank() == 0) folder = choose_run_folder(config.run, options.resume);
  });
  folder.path = world.broadcast(folder.path.string(), 0);
  folder.resumes = world.broadcast(folder.resumes ? "1" : "0", 0) == "1";
  return folder;
}

/// How long a run that goes on waits for the ranks of the one before, which may have lost their
/// launcher: for as long as they wait for each other, and a little.
std::chrono::seconds patience(const TrainOptions& options, const config::Config& config) {
  if (!options.resume.asked) return std::chrono::seconds{0};
  return std::chrono::seconds{5 + static_cast<std::int64_t>(config.parallel.watchdog_seconds)};
}

/// How much of its memory the device has given away so far: to this process, on the cpu.
std::size_t memory_in_use(Device device) {
  if (device == Device::cpu) return core::peak_resident_bytes();
  const kernels::DeviceInfo info = kernels::device_info(device);
  return info.memory_bytes - info.free_bytes;
}

/// Says how the plan compares with what each rank really took.
void report_memory(const StepPlan& plan, std::size_t growth, std::int64_t step, Communicator& world,
                   core::Log& log, Metrics& metrics) {
  const auto planned = world.gather_all(std::to_string(plan.total_bytes()));
  const auto measured = world.gather_all(std::to_string(growth));
  std::vector<RankMemory> ranks;
  for (std::size_t i = 0; i < planned.size(); ++i) {
    ranks.push_back({std::stoull(planned[i]), std::stoull(measured[i])});
    log.info("memory of rank " + std::to_string(i) + ": planned " + planned[i] + " B, taken " +
             measured[i] + " B");
  }
  metrics.memory(step, plan, ranks);
}

/// Dense BF16 peak of the devices of all ranks, those that share one counted once; 0: not known.
double peak_of_all(Device device, Communicator& world) {
  const kernels::DeviceInfo info = kernels::device_info(device);
  const auto all = world.gather_all(core::host_name() + " " + info.id);
  const std::set<std::string> devices(all.begin(), all.end());
  return info.bf16_flops_per_second * static_cast<double>(devices.size());
}

/// Takes the memory that was planned and brings weights and states into it.
io::CheckpointState allocate_and_fill(Engine& engine, Device device, const StepPlan& plan,
                                      const std::filesystem::path& checkpoint, const Data& data,
                                      core::Log& log) {
  engine.allocate(device);
  kernels::reserve_workspace(engine.ctx().stream, plan.workspace);
  return start_state(engine, checkpoint, data, log);
}

void connect(Engine& engine, core::Log& log) {
  engine.connect();
  const parallel::PeerLinks& peers = engine.ctx().peers;
  for (const auto& [connected, ranks] :
       {std::pair(peers.tensor, "tensor"), {peers.dispatch, "expert"}, {peers.data, "data"}}) {
    if (connected) log.info(std::string(ranks) + " ranks write into each other's memory");
  }
}

/// What a run that goes on begins with.
std::filesystem::path resumed_checkpoint(const RunFolder& folder, Communicator& world,
                                         core::Log& log) {
  if (!folder.resumes) return {};
  const std::filesystem::path checkpoint = choose_checkpoint(folder, world, log);
  if (checkpoint.empty()) {
    log.warn(folder.checkpoints().string() + ": holds no complete checkpoint; starts at step 0");
  }
  return checkpoint;
}

void run(Engine& engine, Device device, const StepPlan& plan, const Data& data,
         const RunFolder& folder, const ProfileSteps& profile, core::Log& log) {
  Communicator& world = engine.ctx().groups.world();
  const std::size_t before = device == Device::cpu ? core::resident_bytes() : memory_in_use(device);
  const std::filesystem::path checkpoint = resumed_checkpoint(folder, world, log);
  io::CheckpointState state;
  std::unique_ptr<io::JsonLinesWriter> writer;
  together(world, [&] {
    state = allocate_and_fill(engine, device, plan, checkpoint, data, log);
    require_profiled(profile, state.step, engine.config().train.steps);
    if (world.rank() != 0) return;
    // From here on the folder holds a run: what is refused above leaves no trace in it.
    prepare_run_folder(folder, config::to_json(engine.config()), world.size(),
                       kernels::device_info(device));
    log.open_file(folder.log().string());
    writer =
        std::make_unique<io::JsonLinesWriter>(folder.metrics(), metrics_kept(state, folder, log));
  });
  connect(engine, log);
  log.info("run folder " + folder.path.string());
  const config::Config& config = engine.config();
  Metrics metrics(log, std::move(writer), config.train.steps, config.train.log_every);
  if (state.step > 0) metrics.event("resume", state.step, "");
  if (state.step >= config.train.steps) {
    log.info("all " + std::to_string(config.train.steps) + " steps are done; raise train.steps");
    return;
  }
  const LoopStart start = loop_start(state, folder, config.guard.window, world);
  Loop loop({engine, data, folder, log, metrics, profile, peak_of_all(device, world)});
  if (!loop.run(start)) {
    log.info("stopped; go on with --resume " + folder.path.string());
    return;
  }
  if (device == Device::cuda) log.info(kernels::gemm_summary());
  // Where other processes share the device, what they give back in the meantime is missing here.
  const std::size_t after = std::max(memory_in_use(device), before);
  report_memory(plan, after - before, config.train.steps, world, log, metrics);
}

/// Trains in the run's folder, which no other run may write to meanwhile.
void train_in_folder(Engine& engine, Device device, const StepPlan& plan, const Data& data,
                     const TrainOptions& options, core::Log& log) {
  const config::Config& config = engine.config();
  Communicator& world = engine.ctx().groups.world();
  core::watch_stop_signals();
  const RunFolder folder = agree_on_folder(config, options, world);
  const RunLock lock(folder, world, patience(options, config), log);
  run(engine, device, plan, data, folder, options.profile, log);
}

/// A line for every choice of every item into eval-<task>.jsonl.
void write_choices(const std::filesystem::path& folder, const std::vector<ChoiceResult>& results,
                   const std::vector<ChoiceTask>& tasks) {
  for (std::size_t t = 0; t < results.size(); ++t) {
    io::JsonLinesWriter out(folder / ("eval-" + results[t].name + ".jsonl"), 0);
    std::size_t at = 0;
    for (std::size_t i = 0; i < tasks[t].items.size(); ++i) {
      const input::ChoiceItem& item = tasks[t].items[i];
      for (std::size_t c = 0; c < item.choices.size(); ++c) {
        out.write(io::JsonLine()
                      .add("item", i)
                      .add("choice", c)
                      .add("right", static_cast<std::int64_t>(c) == item.answer)
                      .add("log_likelihood", results[t].log_likelihoods[at++])
                      .add("characters", item.choices[c].characters));
      }
    }
  }
}

/// Evaluates a checkpoint or imported weights; results also go to eval.jsonl in the run's folder.
void evaluate_only(Engine& engine, Device device, const StepPlan& plan, const Data& data,
                   const TrainOptions& options, core::Log& log) {
  Communicator& world = engine.ctx().groups.world();
  const bool imports = !engine.config().init.from.empty();
  if (!options.resume.asked && !imports) {
    throw core::InputError("--eval-only: names no weights; add --resume DIR or set init.from");
  }
  const RunFolder folder = agree_on_folder(engine.config(), options, world);
  const std::filesystem::path checkpoint =
      folder.resumes ? choose_checkpoint(folder, world, log) : "";
  io::CheckpointState state;
  std::unique_ptr<io::JsonLinesWriter> writer;
  together(world, [&] {
    if (checkpoint.empty() && !imports) {
      throw core::InputError(folder.path.string() + ": --eval-only: holds no checkpoint");
    }
    state = allocate_and_fill(engine, device, plan, checkpoint, data, log);
    if (world.rank() != 0) return;
    std::filesystem::create_directories(folder.path);
    writer = std::make_unique<io::JsonLinesWriter>(folder.path / "eval.jsonl", 0);
  });
  connect(engine, log);
  Metrics metrics(log, std::move(writer), engine.config().train.steps, 1);
  const auto results = evaluate_all(engine, data, state.step, metrics);
  if (world.rank() == 0) write_choices(folder.path, results, data.tasks);
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
    require_profiled(options.profile, 0, config.train.steps);
    data = open_data(config);
  });
  const Device device = choose_device(config, log);
  agree(config, world);
  const parallel::DeviceShare share = parallel::share_devices(device, world);
  if (device == Device::cuda && !world.alone()) report_share(share, log);
  const parallel::Watchdog watchdog(
      world, std::chrono::duration<double>(config.parallel.watchdog_seconds));
  const auto mesh = parallel::Mesh::make(config.parallel, world.rank(), world.size());
  report_mesh(mesh, share.here, world.rank(), log);
  parallel::Groups groups(mesh, world, {share.own_gpus, config.parallel.overlap, share.here.all()});
  std::unique_ptr<Engine> engine;
  StepPlan plan;
  share_cores(share.here, world, log);
  together(world, [&] {
    engine = std::make_unique<Engine>(config, mesh, groups);
    plan = plan_step(*engine);
    if (options.dry_run) return;
    // Reads every token, so that a bad one is found now.
    if (world.rank() == 0 && !options.eval_only)
      data.fingerprint = input::fingerprint(data.dataset->train());
    require_memory(plan, memory_limit(device, share.sharers), config, mesh, groups);
  });
  if (options.dry_run) log.info(config::to_json(config));
  log.info(describe(*engine, device, plan, world.size()));
  if (!options.tune.empty()) {
    together(world, [&] {
      if (world.rank() == 0) tune_products(plan, options.tune, log);
    });
  }
  if (options.dry_run || !options.tune.empty()) return;
  if (options.eval_only) return evaluate_only(*engine, device, plan, data, options, log);
  if (options.verify_resume > 0) {
    return verify_resume({config, mesh, groups, data, device, log}, options.verify_resume);
  }
  train_in_folder(*engine, device, plan, data, options, log);
}

}  // namespace strait::train
