#include "train/plan_report.h"

#include <algorithm>
#include <iterator>
#include <numeric>

namespace strait::train {
namespace {

/// Bytes that rank 0 sends in a step.
std::vector<model::BoundaryBytes> traffic_of(const config::Config& config, int ranks) {
  const parallel::Mesh mesh = parallel::Mesh::make(config.parallel, 0, ranks);
  const parallel::SequenceCut cut(config.data.seq_len, mesh, exchanges_by_ring(config));
  auto terms = model::traffic_of(config, cut);
  std::ranges::copy(model::expert_traffic_of(config, model::balanced_rows(config, cut)),
                    std::back_inserter(terms));
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
  return std::accumulate(work.memory.begin(), work.memory.end(), std::size_t{0},
                         [](std::size_t sum, const MemoryItem& item) { return sum + item.bytes; });
}

double PlanReport::tokens_per_second() const {
  const auto tokens = static_cast<double>(config.train.batch_size * config.data.seq_len);
  return tokens / prediction->step();
}

double PlanReport::mfu() const {
  return training_flops_per_token() * tokens_per_second() / (kPeakFlops * ranks);
}

double PlanReport::gpu_hours() const {
  return static_cast<double>(config.train.steps) * prediction->step() * ranks / 3600;
}

PlanReport make_plan_report(const config::Config& config, int ranks, const io::Rates* rates) {
  const std::int64_t S = config.data.seq_len;
  const model::TableSymbols symbols = model::table_symbols(config.model, S);
  const model::ModelCounts counts = model::count_model(config.model);
  const StepWork work = step_work(config, ranks, counts);
  return {.config = config,
          .counts = counts,
          .pairs_per_token = model::document_pairs(config.model, S) / static_cast<double>(S),
          .ranks = ranks,
          .work = work,
          .prediction = rates ? predict(work, config, ranks, *rates) : std::nullopt,
          .traffic = traffic_of(config, ranks),
          .symbols = symbols,
          .table = model::attention_table(symbols),
          .direct = model::direct_count(config.model, S)};
}

}  // namespace strait::train
