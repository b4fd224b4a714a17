#include "train/loop.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "config/load.h"
#include "core/build_info.h"
#include "core/error.h"
#include "io/checkpoint.h"
#include "kernels/memory.h"
#include "optim/schedule.h"
#include "train/sample.h"

namespace strait::train {
namespace {

using Clock = std::chrono::steady_clock;

double read_scalar(const Tensor& scalar, const Stream& stream) {
  double value = 0;
  kernels::copy_to_host(&value, scalar.data, sizeof value, stream);
  kernels::synchronise(stream);
  return value;
}

bool due(std::int64_t step, std::int64_t every, std::int64_t last) {
  if (every < 0) return false;
  return step == last || (every > 0 && step % every == 0);
}

}  // namespace

Loop::Loop(const Parts& parts)
    : engine_(parts.engine),
      data_(parts.data),
      folder_(parts.folder),
      log_(parts.log),
      metrics_(parts.metrics),
      counts_(model::count_model(parts.engine.config().model)) {}

bool Loop::chief() const {
  return engine_.ctx().groups.world().rank() == 0;
}

void Loop::run(std::int64_t done, std::int64_t tokens) {
  const config::Config& config = engine_.config();
  tokens_ = tokens;
  for (std::int64_t step = done + 1; step <= config.train.steps; ++step) {
    train_one(step);
    if (due(step, config.eval.every, config.train.steps)) evaluate_now(step);
    if (due(step, config.checkpoint.every, config.train.steps)) save(step);
  }
  if (chief()) show_sample();
  engine_.ctx().groups.world().barrier();
}

void Loop::train_one(std::int64_t step) {
  const auto begin = Clock::now();
  const config::Config& config = engine_.config();
  feed_.begin(engine_, *data_.train, step - 1);
  const double lr = optim::learning_rate(config.optim, config.train.steps, step - 1);
  const StepOutput out = run_step(
      engine_, {.micro_batch = [&](std::int64_t i) -> const parallel::TokenBatch& {
                  return feed_.micro_batch(engine_, i);
                },
                .micro_batches = engine_.micro_batches(),
                .scale = {.per_token = 1.0 / std::max(feed_.labels(), 1.0),
                          .per_sequence = 1.0 / static_cast<double>(config.train.batch_size)},
                .lr = lr,
                .step = step});
  tokens_ += config.train.batch_size * config.data.seq_len;
  StepMetrics metrics = read_metrics(step, out, lr);
  metrics.seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  const double tokens = static_cast<double>(config.train.batch_size * config.data.seq_len);
  metrics.tokens_per_second = tokens / metrics.seconds;
  metrics.flops_per_second = 3.0 * counts_.forward_flops(tokens, feed_.pairs()) / metrics.seconds;
  metrics_.step(metrics);
  if (!std::isfinite(metrics.loss) || !std::isfinite(metrics.grad_norm)) {
    throw core::RuntimeFault("step " + std::to_string(step) +
                             ": loss or gradient norm is not finite; lower optim.lr or resume from "
                             "the last checkpoint in " +
                             folder_.checkpoints().string());
  }
}

StepMetrics Loop::read_metrics(std::int64_t step, const StepOutput& out, double lr) {
  const Stream& stream = engine_.ctx().stream;
  return {.step = step,
          .tokens = tokens_,
          .loss = read_scalar(out.loss_sum, stream) / std::max(feed_.labels(), 1.0),
          .lr = lr,
          .grad_norm = read_scalar(out.clip.norm, stream),
          .balance = read_balance()};
}

std::optional<BalanceMetrics> Loop::read_balance() {
  const auto layers = engine_.model().router_totals();
  if (layers.empty()) return std::nullopt;
  const Stream& stream = engine_.ctx().stream;
  const config::Config& config = engine_.config();
  const double n = static_cast<double>(layers.size());
  BalanceMetrics balance{.min_load = 1e30};
  for (const layers::RouterTotals& layer : layers) {
    std::vector<std::int64_t> counts(static_cast<std::size_t>(layer.counts.numel()));
    kernels::copy_to_host(counts.data(), layer.counts.data, layer.counts.bytes(), stream);
    const double sequences = static_cast<double>(config.train.batch_size);
    balance.aux += read_scalar(layer.aux, stream) / (n * sequences);
    balance.z +=
        read_scalar(layer.z, stream) / (n * sequences * static_cast<double>(config.data.seq_len));
    double total = 0;
    for (const std::int64_t count : counts) total += static_cast<double>(count);
    const double mean = total / static_cast<double>(counts.size());
    const auto [low, high] = std::ranges::minmax(counts);
    balance.max_load = std::max(balance.max_load, static_cast<double>(high) / mean);
    balance.min_load = std::min(balance.min_load, static_cast<double>(low) / mean);
  }
  return balance;
}

void Loop::evaluate_now(std::int64_t step) {
  if (!data_.validation) return;
  metrics_.evaluation(step, evaluate(engine_, *data_.validation, *data_.tokenizer,
                                     engine_.config().eval.sequences));
}

void Loop::save(std::int64_t step) {
  parallel::Communicator& world = engine_.ctx().groups.world();
  if (chief()) {
    const config::Config& config = engine_.config();
    const auto path = io::save_checkpoint(folder_.checkpoints(), engine_.table(),
                                          {.step = step,
                                           .tokens = tokens_,
                                           .metrics_bytes = metrics_.offset(),
                                           .seed = config.run.seed,
                                           .world_size = world.size(),
                                           .revision = core::revision(),
                                           .config = config::to_json(config)},
                                          config.checkpoint.keep, engine_.ctx().stream);
    log_.info("saved " + path.string());
  }
  world.barrier();
}

void Loop::show_sample() {
  const config::Eval& eval = engine_.config().eval;
  if (eval.sample_tokens <= 0) return;
  // Without a prompt the text starts at a line break, as documents in training do not mark a start.
  const std::string prompt = eval.sample_prompt.empty() ? "\n" : eval.sample_prompt;
  const auto tokens = sample(engine_, data_.tokenizer->encode(prompt),
                             {.tokens = eval.sample_tokens,
                              .temperature = eval.sample_temperature,
                              .seed = static_cast<std::uint64_t>(engine_.config().run.seed),
                              .stop = data_.tokenizer->eod()});
  const std::string text = eval.sample_prompt + data_.tokenizer->decode(tokens);
  log_.info("sample: " + text);
  metrics_.event("sample", engine_.config().train.steps, text);
}

}  // namespace strait::train
