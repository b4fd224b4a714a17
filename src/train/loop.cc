#include "train/loop.h"

#include <algorithm>
#include <cmath>

#include "config/load.h"
#include "core/build_info.h"
#include "core/error.h"
#include "io/checkpoint.h"
#include "kernels/memory.h"
#include "optim/schedule.h"
#include "train/evaluate_all.h"
#include "train/sample.h"

namespace strait::train {
namespace {

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
      profile_(parts.profile),
      peak_flops_(parts.peak_flops),
      counts_(model::count_model(parts.engine.config().model)),
      feed_(parts.engine, *parts.data.train),
      step_(parts.engine),
      results_(parts.engine) {}

bool Loop::chief() const {
  return engine_.ctx().groups.world().rank() == 0;
}

double Loop::learning_rate(std::int64_t step) const {
  const config::Config& config = engine_.config();
  return optim::learning_rate(config.optim, config.train.steps, step - 1);
}

std::int64_t Loop::tokens_after(std::int64_t step) const {
  const config::Config& config = engine_.config();
  return tokens_before_ + (step - done_before_) * config.train.batch_size * config.data.seq_len;
}

void Loop::run(std::int64_t done, std::int64_t tokens) {
  const config::Config& config = engine_.config();
  const std::int64_t last = config.train.steps;
  done_before_ = finished_ = done;
  tokens_before_ = tokens;
  engine_.ctx().clock.restart(engine_.ctx().stream);
  feed_.prepare(done);
  for (std::int64_t step = done + 1; step <= last; ++step) {
    begin_profile(step);
    enqueue(step);
    end_profile(step);
    if (finished_ < step - 1) finish(step - 1);
    if (step < last) feed_.prepare(step);
    pause(step, due(step, config.eval.every, last), due(step, config.checkpoint.every, last));
  }
  if (finished_ < last) finish(last);
  show_sample();
  engine_.ctx().groups.world().barrier();
}

void Loop::enqueue(std::int64_t step) {
  engine_.ctx().groups.traffic().at_step(step);
  out_ = step_.run({.micro_batch = [&](std::int64_t i) -> const parallel::TokenBatch& {
                      return feed_.micro_batch(step - 1, i);
                    },
                    .micro_batches = engine_.micro_batches(),
                    .labels = feed_.totals(step - 1).labels,
                    .lr = learning_rate(step),
                    .step = step});
  results_.enqueue(step);
}

void Loop::begin_profile(std::int64_t step) {
  if (!profile_.covers(step) || timer_) return;
  Stream& stream = engine_.ctx().stream;
  kernels::synchronise(stream);
  timer_ = std::make_unique<OpTimer>(stream);
  stream.observer = timer_.get();
  kernels::open_profile_window(stream.device);
}

void Loop::end_profile(std::int64_t step) {
  if (!timer_ || (profile_.covers(step + 1) && step < engine_.config().train.steps)) return;
  Stream& stream = engine_.ctx().stream;
  timer_->stop();
  kernels::synchronise(stream);
  kernels::close_profile_window(stream.device);
  stream.observer = nullptr;
  const std::int64_t steps = step - profile_.first + 1;
  if (chief()) {
    const auto ops = timer_->table();
    const auto path = folder_.path / "profile.json";
    write_op_table(path, ops, steps);
    log_.info("launches of steps " + std::to_string(profile_.first) + " to " +
              std::to_string(step) + ", also in " + path.string() + ":\n" + op_table(ops, steps));
  }
  timer_.reset();
}

void Loop::pause(std::int64_t step, bool evaluates, bool saves) {
  if (!evaluates && !saves) return;
  finish(step);
  if (evaluates) evaluate_now(step);
  if (saves) save(step);
  engine_.ctx().clock.restart(engine_.ctx().stream);
}

void Loop::finish(std::int64_t step) {
  results_.wait(step);
  finished_ = step;
  StepMetrics metrics = read_metrics(step);
  read_speed(step, metrics);
  metrics.device = device_status();
  metrics_.step(metrics);
  if (!std::isfinite(metrics.loss) || !std::isfinite(metrics.grad_norm)) {
    throw core::RuntimeFault("step " + std::to_string(step) +
                             ": loss or gradient norm is not finite; lower optim.lr or resume from "
                             "the last checkpoint in " +
                             folder_.checkpoints().string());
  }
}

StepMetrics Loop::read_metrics(std::int64_t step) const {
  const double labels = std::max(feed_.totals(step - 1).labels, 1.0);
  return {.step = step,
          .tokens = tokens_after(step),
          .loss = results_.at<double>(out_.loss_sum) / labels,
          .lr = learning_rate(step),
          .grad_norm = results_.at<double>(out_.clip.norm),
          .balance = read_balance()};
}

void Loop::read_speed(std::int64_t step, StepMetrics& metrics) const {
  const Tensor& phases = engine_.ctx().clock.totals();
  for (std::size_t i = 0; i < metrics.phase_seconds.size(); ++i) {
    const auto at = static_cast<std::int64_t>(i);
    metrics.phase_seconds[i] = 1e-9 * static_cast<double>(results_.at<std::int64_t>(phases, at));
    metrics.seconds += metrics.phase_seconds[i];
  }
  const double tokens = static_cast<double>(tokens_after(step) - tokens_after(step - 1));
  const double flops = 3.0 * counts_.forward_flops(tokens, feed_.totals(step - 1).pairs);
  metrics.tokens_per_second = tokens / metrics.seconds;
  metrics.flops_per_second = flops / metrics.seconds;
  metrics.mfu = peak_flops_ > 0 ? metrics.flops_per_second / peak_flops_ : std::nan("");
}

std::optional<BalanceMetrics> Loop::read_balance() const {
  const auto layers = engine_.model().router_totals();
  if (layers.empty()) return std::nullopt;
  const config::Config& config = engine_.config();
  const double n = static_cast<double>(layers.size());
  const double sequences = static_cast<double>(config.train.batch_size);
  const double tokens = sequences * static_cast<double>(config.data.seq_len);
  BalanceMetrics balance{.min_load = 1e30};
  for (const layers::RouterTotals& layer : layers) {
    balance.aux += results_.at<double>(layer.aux) / (n * sequences);
    balance.z += results_.at<double>(layer.z) / (n * tokens);
    double total = 0, low = 1e300, high = 0;
    for (std::int64_t e = 0; e < layer.counts.numel(); ++e) {
      const auto count = static_cast<double>(results_.at<std::int64_t>(layer.counts, e));
      total += count;
      low = std::min(low, count);
      high = std::max(high, count);
    }
    const double mean = total / static_cast<double>(layer.counts.numel());
    balance.layers.push_back({high / mean, low / mean});
    balance.max_load = std::max(balance.max_load, high / mean);
    balance.min_load = std::min(balance.min_load, low / mean);
  }
  return balance;
}

kernels::DeviceStatus Loop::device_status() {
  constexpr std::chrono::seconds kBetween{1};
  const auto now = std::chrono::steady_clock::now();
  if (!chief() || now - last_status_ < kBetween) return {};
  last_status_ = now;
  return kernels::device_status(engine_.ctx().stream.device);
}

void Loop::evaluate_now(std::int64_t step) {
  metrics_.datasets(step, data_.train->progress(step));
  evaluate_all(engine_, data_, step, metrics_);
}

void Loop::save(std::int64_t step) {
  parallel::Communicator& world = engine_.ctx().groups.world();
  if (chief()) {
    const config::Config& config = engine_.config();
    const auto path = io::save_checkpoint(folder_.checkpoints(), engine_.table(),
                                          {.step = step,
                                           .tokens = tokens_after(step),
                                           .metrics_bytes = metrics_.offset(),
                                           .seed = config.run.seed,
                                           .world_size = world.size(),
                                           .revision = core::revision(),
                                           .data = data_.fingerprint,
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
                              .rule = {.temperature = eval.sample_temperature},
                              .seed = static_cast<std::uint64_t>(engine_.config().run.seed),
                              .stop = data_.tokenizer->eod()});
  const std::string text = eval.sample_prompt + data_.tokenizer->decode(tokens);
  if (!chief()) return;
  log_.info("sample: " + text);
  metrics_.event("sample", engine_.config().train.steps, text);
}

}  // namespace strait::train
