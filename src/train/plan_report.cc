#include "train/plan_report.h"

#include <numeric>

namespace strait::train {
namespace {

/// Bytes by category of a rank. Memory does not grow with the number of micro-batches, so one
/// stands for all of a step.
std::vector<MemoryItem> memory_of(config::Config config, int ranks) {
  config.train.batch_size = config.train.micro_batch * config.parallel.dp;
  const parallel::Mesh mesh = parallel::Mesh::make(config.parallel, 0, ranks);
  parallel::Groups groups = parallel::Groups::planned(mesh);
  Engine engine(config, mesh, groups);
  return plan_step(engine).memory;
}

/// Bytes that rank 0 sends in a step.
std::vector<model::BoundaryBytes> traffic_of(const config::Config& config, int ranks) {
  const parallel::Mesh mesh = parallel::Mesh::make(config.parallel, 0, ranks);
  auto terms = model::traffic_of(config, {config.data.seq_len, mesh, exchanges_by_ring(config)});
  const auto micro_batches = static_cast<double>(config.train.batch_size /
                                                 (config.parallel.dp * config.train.micro_batch));
  for (model::BoundaryBytes& term : terms) term.bytes *= micro_batches;
  return terms;
}

}  // namespace

double PlanReport::training_flops_per_token() const {
  return 3 * counts.forward_flops(1, pairs_per_token);
}

std::int64_t PlanReport::non_embedding() const {
  std::int64_t n = counts.parameters();
  for (const model::PartCount& part : counts.parts) {
    if (part.part == "embedding" || part.part == "head") n -= part.parameters;
  }
  return n;
}

std::size_t PlanReport::memory_bytes() const {
  return std::accumulate(memory.begin(), memory.end(), std::size_t{0},
                         [](std::size_t sum, const MemoryItem& item) { return sum + item.bytes; });
}

PlanReport make_plan_report(const config::Config& config, int ranks) {
  const std::int64_t S = config.data.seq_len;
  const model::TableSymbols symbols = model::table_symbols(config.model, S);
  return {.config = config,
          .counts = model::count_model(config.model),
          .pairs_per_token = model::document_pairs(config.model, S) / static_cast<double>(S),
          .memory = memory_of(config, ranks),
          .traffic = traffic_of(config, ranks),
          .symbols = symbols,
          .table = model::attention_table(symbols),
          .direct = model::direct_count(config.model, S)};
}

}  // namespace strait::train
