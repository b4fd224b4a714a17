#include "train/loop.h"

#include <algorithm>
#include <cmath>

#include "config/load.h"
#include "core/build_info.h"
#include "core/error.h"
#include "core/stop_signal.h"
#include "io/checkpoint.h"
#include "kernels/memory.h"
#include "optim/schedule.h"
#include "train/evaluate_all.h"
#include "train/sample.h"
#include "train/start_state.h"

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
      results_(parts.engine),
      saver_(parts.folder.checkpoints(), parts.engine.table(), parts.engine.ctx().groups.world(),
             {parts.engine.config().checkpoint.keep, parts.engine.config().checkpoint.keep_every},
             parts.engine.ctx().stream),
      guard_(parts.engine.config().guard),
      last_(parts.last > 0 ? parts.last : parts.engine.config().train.steps) {
  if (parts.engine.config().checkpoint.every > 0) saver_.reserve();
}

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

void Loop::begin_at(const LoopStart& start) {
  done_before_ = finished_ = start.step;
  tokens_before_ = start.tokens;
  for (std::size_t i = 0; i < start.losses.size(); ++i) {
    guard_.accept(start.losses[i], start.norms[i]);
  }
  feed_.pass_over(start.batches - start.step);
  feed_.prepare(start.step);
  engine_.ctx().clock.restart(engine_.ctx().stream);
}

bool Loop::run(const LoopStart& start) {
  const config::Config& config = engine_.config();
  begin_at(start);
  bool stops = false;
  for (std::int64_t step = start.step + 1; step <= last_ && !stops; ++step) {
    begin_profile(step);
    enqueue(step);
    end_profile(step);
    if (finished_ < step - 1 && !finish(step - 1)) {
      step = rewind(step - 1);
      continue;
    }
    if (step < last_) feed_.prepare(step);
    stops = agree_to_stop(step);
    const bool ends = stops && config.checkpoint.every >= 0;
    const std::int64_t probe_every = config.eval.probe_every > 0 ? config.eval.probe_every : -1;
    if (!pause(step, {.evaluates = !stops && due(step, config.eval.every, last_),
                      .probes = !stops && due(step, probe_every, last_),
                      .saves = ends || due(step, config.checkpoint.every, last_)})) {
      step = rewind(step);
      stops = false;
    }
  }
  if (finished_ < last_ && !stops) finish(last_);
  if (saver_.busy()) finish_save(true);
  step_.settle();
  if (!stops && last_ == config.train.steps) show_sample();
  engine_.ctx().groups.world().barrier();
  return !stops;
}

/// A signal may reach one rank alone, and ranks write at their own speed.
bool Loop::agree_to_stop(std::int64_t step) {
  const std::string signal = core::stop_signal();
  std::int64_t counts[2] = {signal.empty() ? 0 : 1, saver_.busy() && !saver_.written() ? 1 : 0};
  engine_.ctx().groups.world().all_reduce_sum(Tensor(counts, DType::i64, {2}), Stream{});
  if (saver_.busy() && counts[1] == 0) finish_save(false);
  if (counts[0] == 0) return false;
  record("stop", step, signal.empty() ? "a signal to another rank" : signal);
  return true;
}

void Loop::enqueue(std::int64_t step) {
  std::array<double, 2>& limits = limits_[static_cast<std::size_t>(step % 2)];
  limits = guard_.limits();
  limits[0] *= feed_.totals(step - 1).labels;
  out_ = step_.run({.micro_batch = [&](std::int64_t i) -> const parallel::TokenBatch& {
                      return feed_.micro_batch(step - 1, i);
                    },
                    .micro_batches = engine_.micro_batches(),
                    .labels = feed_.totals(step - 1).labels,
                    .lr = learning_rate(step),
                    .step = step,
                    .limits = limits,
                    .goes_on = true});
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

bool Loop::pause(std::int64_t step, const Pause& what) {
  if (!what.evaluates && !what.probes && !what.saves) return true;
  if (!finish(step)) return false;
  step_.settle();
  if (what.evaluates) evaluate_now(step);
  if (what.probes) {
    metrics_.stability(step, measure_stability(engine_, data_.validation.front()));
  }
  if (what.saves) save(step);
  engine_.ctx().clock.restart(engine_.ctx().stream);
  return true;
}

bool Loop::finish(std::int64_t step) {
  results_.wait(step);
  finished_ = step;
  StepMetrics metrics = read_metrics(step);
  read_speed(step, metrics);
  metrics.device = device_status();
  const double labels = std::max(feed_.totals(metrics.step - 1).labels, 1.0);
  const Guard::Verdict verdict =
      guard_.judge(results_.at<double>(out_.loss_sum), labels, metrics.grad_norm,
                   limits_[static_cast<std::size_t>(metrics.step % 2)]);
  metrics.bad = !verdict.reason.empty();
  metrics_.step(metrics);
  if (metrics.bad) return act(metrics, verdict);
  guard_.accept(metrics.loss, metrics.grad_norm);
  return true;
}

/// The step was not made: the device saw the same numbers.
bool Loop::act(const StepMetrics& metrics, const Guard::Verdict& verdict) {
  const std::int64_t before = guard_.bad();
  const bool stop = verdict.action == config::OnBadStep::stop || !guard_.count();
  if (stop) {
    if (saver_.busy()) finish_save(false);
    throw core::RuntimeFault("step " + std::to_string(metrics.step) + ": " + verdict.reason +
                             " (guard, " + std::to_string(before) +
                             " before); lower optim.lr, set guard.* to skip or rewind, or resume "
                             "from the last checkpoint in " +
                             folder_.checkpoints().string());
  }
  const bool rewinds = verdict.action == config::OnBadStep::rewind;
  record(rewinds ? "rewind" : "skip", metrics.step, verdict.reason);
  return !rewinds;
}

/// Back to the newest checkpoint, and on behind the batch of `bad_step`. Returns the step that is
/// then the last one done.
std::int64_t Loop::rewind(std::int64_t bad_step) {
  parallel::Ctx& ctx = engine_.ctx();
  step_.settle();
  kernels::synchronise(ctx.stream);
  if (saver_.busy()) finish_save(false);
  const std::int64_t next_batch = bad_step + feed_.passed_over();
  const std::filesystem::path checkpoint = choose_checkpoint(folder_, ctx.groups.world(), log_);
  io::CheckpointState state;
  parallel::together(ctx.groups.world(), [&] {
    if (checkpoint.empty()) {
      throw core::RuntimeFault("step " + std::to_string(bad_step) +
                               ": no checkpoint to rewind to in " + folder_.checkpoints().string() +
                               "; set checkpoint.every");
    }
    state = start_state(engine_, checkpoint, data_, log_);
  });
  log_.warn("rewound to " + checkpoint.string() + "; goes on with batch " +
            std::to_string(next_batch + 1));
  begin_at({.step = state.step, .tokens = state.tokens, .batches = next_batch});
  return state.step;
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
  if (!engine_.ctx().groups.world().alone()) {
    metrics.communication_seconds =
        1e-9 * static_cast<double>(results_.at<std::int64_t>(out_.communication));
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
  if (saver_.busy()) finish_save(false);
  const config::Config& config = engine_.config();
  saver_.begin({.step = step,
                .tokens = tokens_after(step),
                .batches = step + feed_.passed_over(),
                .metrics_bytes = metrics_.offset(),
                .seed = config.run.seed,
                .world_size = engine_.ctx().groups.world().size(),
                .revision = core::revision(),
                .data = data_.fingerprint,
                .config = config::to_json(config)});
}

/// A failed save leaves the checkpoints before it; the run goes on, unless it was the last.
void Loop::finish_save(bool required) {
  if (chief()) keep_beside();
  const io::SaveOutcome outcome = saver_.finish();
  if (!outcome.left.empty()) log_.warn("old checkpoints could not be removed: " + outcome.left);
  if (outcome.failure.empty()) return log_.info("saved " + outcome.folder.string());
  const std::string text =
      outcome.folder.string() + ": not saved, the checkpoints before it stay: " + outcome.failure;
  parallel::together(engine_.ctx().groups.world(), [&] {
    if (required && chief()) throw core::RuntimeFault(text);
  });
  record("checkpoint_failed", outcome.step, text);
}

/// What a resumed run reads beside the checkpoint: its metrics must not be younger on the disk, and
/// a run whose folder was removed writes its config anew. A fault of theirs is no fault of the
/// save.
void Loop::keep_beside() {
  metrics_.sync();
  try {
    keep_config(folder_, config::to_json(engine_.config()));
  } catch (const core::RuntimeFault& fault) {
    log_.warn(fault.what());
  }
}

void Loop::record(const std::string& name, std::int64_t step, const std::string& detail) {
  metrics_.event(name, step, detail);
  if (!chief()) return;
  log_.warn("step " + std::to_string(step) + ": " + name + ", " + detail);
  add_provenance_event(folder_, name, step, detail);
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
