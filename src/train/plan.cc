#include "train/plan.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include "train/step.h"

namespace strait::train {
namespace {

/// Ranks that hold what this one does of a parameter it keeps, and of its states.
double holders(const core::Param& param, const core::ParamTable& table,
               const parallel::Mesh& mesh) {
  const core::Shard& shard = param.spec.shard;
  const bool cut = shard.dim >= 0 && shard.parts > 1;
  const bool one_owner = std::ranges::any_of(table.segments(), [&](const core::Segment& segment) {
    return param.spec.trainable && segment.ranks > 1 && segment.holds(param);
  });
  const int data = one_owner ? 1 : cut && shard.axis == core::Axis::ep ? mesh.edp() : mesh.dp;
  const int tensor = cut && shard.axis == core::Axis::tp ? 1 : mesh.tp;
  return static_cast<double>(data) * mesh.cp * tensor;
}

/// What a checkpoint's snapshot takes of this rank's memory: ranks that hold the same share it out.
std::size_t snapshot_bytes(const core::ParamTable& table, const parallel::Mesh& mesh) {
  double bytes = 0;
  for (const core::Param& param : table.params()) {
    if (param.spec.trainable && !param.owned()) continue;
    std::size_t held = param.master.bytes();
    for (const Tensor& state : {param.adam_m, param.adam_v}) {
      if (state.defined()) held += state.bytes();
    }
    bytes += static_cast<double>(held) / holders(param, table, mesh);
  }
  return static_cast<std::size_t>(bytes);
}

}  // namespace

bool on_gpu(const config::Config& config) {
  return config.run.device == config::Device::cuda ||
         config.precision.compute == config::Compute::bf16;
}

std::size_t StepPlan::total_bytes() const {
  std::size_t total = 0;
  for (const MemoryItem& item : memory) total += item.bytes;
  return total;
}

void WorkCounter::on_launch(const char* op, const kernels::Work& work) {
  OpCount& count = ops_[op];
  ++count.launches;
  count.work.flops += work.flops;
  count.work.bytes += work.bytes;
  workspace_ = std::max(workspace_, static_cast<std::size_t>(work.workspace));
}

StepPlan plan_step(Engine& engine) {
  parallel::Ctx& ctx = engine.ctx();
  WorkCounter counter;
  ctx.stream.observer = &counter;
  const auto blank = [&](std::int64_t) -> const parallel::TokenBatch& {
    return engine.shard().blank();
  };
  Step(engine).run({.micro_batch = blank, .micro_batches = engine.micro_batches()});
  ctx.stream.observer = nullptr;
  StepPlan plan{.memory = {}, .ops = counter.ops(), .products = counter.products()};
  for (const auto& [what, count] : ctx.groups.world().traffic().counts()) {
    plan.bytes_sent[what] = static_cast<double>(count.bytes);
  }

  engine.model().begin_step(ctx);
  ctx.tokens = &engine.shard().blank();
  {
    const core::Frame frame(ctx.scratch);
    const Tensor losses =
        ctx.scratch.take(kernels::stat_dtype(engine.table().dtype()), {ctx.tokens->tokens()});
    engine.model().evaluate(ctx, losses);
  }
  if (!engine.shard().cut().cuts()) {
    const core::Frame frame(ctx.scratch);
    const DType dtype = engine.table().dtype();
    engine.model().logits(ctx, 0, ctx.scratch.take(dtype, {1, engine.config().model.vocab_size}));
  }
  ctx.state.release(0);

  const core::ParamTable& table = engine.table();
  std::vector<const core::Arena*> arenas = {&table.weights(), &table.masters(), &table.gradients(),
                                            &table.optimizer()};
  for (const core::Arena* arena : engine.arenas()) arenas.push_back(arena);
  for (const core::Arena* arena : arenas) {
    if (arena->peak() > 0) plan.memory.push_back({arena->name(), arena->peak()});
  }
  if (const std::size_t bytes = ctx.groups.buffer_bytes(); bytes > 0) {
    plan.memory.push_back({"communication", bytes});
  }
  if (on_gpu(engine.config())) {
    // Small pieces beside the sums that work() tells.
    constexpr std::size_t kBeside = std::size_t{8} << 20;
    plan.workspace = std::max(kernels::kWorkspaceBytes, counter.workspace() + kBeside);
    plan.memory.push_back({"workspace", plan.workspace});
  } else if (engine.config().checkpoint.every >= 0) {
    plan.memory.push_back({"checkpoint", snapshot_bytes(table, engine.mesh())});
  }
  return plan;
}

std::string human_bytes(double bytes) {
  constexpr std::array kUnits = {"B", "KiB", "MiB", "GiB", "TiB"};
  std::size_t unit = 0;
  while (bytes >= 1024 && unit + 1 < kUnits.size()) {
    bytes /= 1024;
    ++unit;
  }
  char text[32];
  std::snprintf(text, sizeof text, unit == 0 ? "%.0f %s" : "%.2f %s", bytes, kUnits[unit]);
  return text;
}

std::string memory_table(const StepPlan& plan) {
  std::string out;
  const auto row = [&](const std::string& name, std::size_t bytes) {
    char line[96];
    std::snprintf(line, sizeof line, "  %-15s %12s %16zu B\n", name.c_str(),
                  human_bytes(static_cast<double>(bytes)).c_str(), bytes);
    out += line;
  };
  for (const MemoryItem& item : plan.memory) row(item.category, item.bytes);
  row("total", plan.total_bytes());
  return out;
}

}  // namespace strait::train
