#include "train/verify_resume.h"

#include "core/error.h"
#include "core/hash.h"
#include "io/checkpoint.h"
#include "io/held.h"
#include "io/part_copy.h"
#include "train/loop.h"
#include "train/start_state.h"

namespace strait::train {
namespace {

namespace fs = std::filesystem;
using parallel::together;

/// Name and hash of every tensor of this rank that training moves.
std::vector<std::pair<std::string, std::string>> digest_of(Engine& engine) {
  std::vector<std::pair<std::string, std::string>> digest;
  const Stream& stream = engine.ctx().stream;
  kernels::synchronise(stream);
  std::vector<std::byte> host;
  for (auto* list : {&io::owned_weights, &io::held_states}) {
    for (const io::Held& held : (*list)(engine.table())) {
      host.resize(held.view.bytes());
      io::copy_view_to_host(held.view, host, stream);
      digest.emplace_back(held.name,
                          core::hash_text(core::hash_of(std::span<const std::byte>(host))));
    }
  }
  return digest;
}

/// One training from the start or from the folder's newest checkpoint to step `last`, by an engine
/// of its own; it saves at its end when asked.
std::vector<std::pair<std::string, std::string>> train_to(const VerifyParts& parts,
                                                          const RunFolder& folder,
                                                          std::int64_t last, bool saves) {
  config::Config config = parts.config;
  config.checkpoint.every = saves ? 0 : -1;
  config.eval.sequences = parts.config.train.micro_batch;
  Engine engine(config, parts.mesh, parts.groups);
  const fs::path checkpoint =
      folder.resumes ? choose_checkpoint(folder, parts.groups.world(), parts.log) : "";
  io::CheckpointState state;
  const StepPlan plan = plan_step(engine);
  together(parts.groups.world(), [&] {
    engine.allocate(parts.device);
    kernels::reserve_workspace(engine.ctx().stream, plan.workspace);
    state = start_state(engine, checkpoint, parts.data, parts.log);
  });
  engine.connect();
  Metrics metrics(parts.log, nullptr, last, config.train.log_every);
  {
    Loop loop({.engine = engine,
               .data = parts.data,
               .folder = folder,
               .log = parts.log,
               .metrics = metrics,
               .last = last});
    loop.run({.step = state.step, .tokens = state.tokens, .batches = state.batches});
  }
  engine.disconnect();
  return digest_of(engine);
}

}  // namespace

void verify_resume(const VerifyParts& parts, std::int64_t steps) {
  parallel::Communicator& world = parts.groups.world();
  if (2 * steps > parts.config.train.steps) {
    together(world, [&] {
      throw core::InputError("--verify-resume " + std::to_string(steps) + ": train.steps is " +
                             std::to_string(parts.config.train.steps) +
                             "; expected at most half of it");
    });
  }
  const std::string base =
      parts.config.run.dir.empty() ? parts.config.run.name : parts.config.run.dir;
  RunFolder folder{.path = base + "-verify-resume", .resumes = false};
  const auto clear = [&] {
    together(world, [&] {
      if (world.rank() == 0) fs::remove_all(folder.path);
    });
    world.barrier();
  };
  clear();
  const auto whole = train_to(parts, folder, 2 * steps, false);
  train_to(parts, folder, steps, true);
  folder.resumes = true;
  const auto resumed = train_to(parts, folder, 2 * steps, false);
  clear();
  together(world, [&] {
    for (std::size_t i = 0; i < whole.size(); ++i) {
      if (whole[i] == resumed[i]) continue;
      throw core::CheckFailed("resume is not exact: after " + std::to_string(2 * steps) +
                              " steps " + whole[i].first + " differs");
    }
  });
  parts.log.info("resume is exact: " + std::to_string(steps) + " + " + std::to_string(steps) +
                 " steps give the bits of " + std::to_string(2 * steps) + " in all " +
                 std::to_string(whole.size()) + " tensors");
}

}  // namespace strait::train
