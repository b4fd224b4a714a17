#include "train/metrics.h"

#include <cmath>
#include <cstdio>
#include <string>

#include "core/error.h"

namespace strait::train {
namespace {

std::string duration(double seconds) {
  const auto s = static_cast<std::int64_t>(std::llround(seconds));
  char text[48];
  if (s >= 3600) {
    std::snprintf(text, sizeof text, "%lldh%02lldm", static_cast<long long>(s / 3600),
                  static_cast<long long>(s / 60 % 60));
  } else {
    std::snprintf(text, sizeof text, "%lldm%02llds", static_cast<long long>(s / 60),
                  static_cast<long long>(s % 60));
  }
  return text;
}

io::JsonLine step_line(const StepMetrics& m) {
  io::JsonLine line;
  line.add("step", m.step)
      .add("tokens", m.tokens)
      .add("loss", m.loss)
      .add("lr", m.lr)
      .add("grad_norm", m.grad_norm)
      .add("step_s", m.seconds)
      .add("tok_s", m.tokens_per_second)
      .add("tflop_s", m.flops_per_second * 1e-12)
      .add("mfu", m.mfu);
  for (std::size_t i = 0; i < m.phase_seconds.size(); ++i) {
    line.add(std::string(parallel::kPhaseNames[i]) + "_s", m.phase_seconds[i]);
  }
  if (m.communication_seconds) line.add("comm_s", *m.communication_seconds);
  if (m.bad) line.add("bad", true);
  if (m.device.known) {
    line.add("gpu_mhz", m.device.clock_mhz)
        .add("gpu_w", m.device.power_w)
        .add("gpu_c", m.device.temperature_c)
        .add("gpu_throttle", m.device.throttle);
  }
  if (m.balance) {
    line.add("moe_aux", m.balance->aux)
        .add("moe_z", m.balance->z)
        .add("moe_max_load", m.balance->max_load)
        .add("moe_min_load", m.balance->min_load);
    std::vector<io::JsonLine> layers;
    for (const BalanceMetrics::Layer& layer : m.balance->layers) {
      layers.emplace_back();
      layers.back().add("max_load", layer.max_load).add("min_load", layer.min_load);
    }
    line.add("moe_layers", layers);
  }
  return line;
}

}  // namespace

Metrics::Metrics(core::Log& log, std::unique_ptr<io::JsonLinesWriter> writer, std::int64_t steps,
                 std::int64_t log_every)
    : log_(log), writer_(std::move(writer)), steps_(steps), log_every_(log_every) {}

void Metrics::put(const io::JsonLine& line) {
  attempt([&] { writer_->write(line); });
}

void Metrics::sync() {
  if (writer_) attempt([&] { writer_->sync(); });
}

void Metrics::attempt(const std::function<void()>& work) {
  try {
    work();
    lost_ = false;
  } catch (const core::RuntimeFault& fault) {
    if (!lost_) log_.warn(std::string(fault.what()) + "; training goes on without its metrics");
    lost_ = true;
  }
}

void Metrics::step(const StepMetrics& m) {
  if (!writer_) return;
  put(step_line(m));
  smooth_seconds_ = smooth_seconds_ == 0 ? m.seconds : 0.9 * smooth_seconds_ + 0.1 * m.seconds;
  if (m.step % log_every_ != 0 && m.step != steps_) return;
  char text[192], mfu[32] = "";
  if (std::isfinite(m.mfu)) std::snprintf(mfu, sizeof mfu, "  MFU %.1f %%", 100 * m.mfu);
  std::snprintf(text, sizeof text,
                "step %lld/%lld  loss %.4f  lr %.2e  |g| %.2f  %.0f tok/s%s  ETA %s",
                static_cast<long long>(m.step), static_cast<long long>(steps_), m.loss, m.lr,
                m.grad_norm, m.tokens_per_second, mfu,
                duration(smooth_seconds_ * static_cast<double>(steps_ - m.step)).c_str());
  log_.progress(text);
}

void Metrics::evaluation(std::int64_t step, const Evaluation& results) {
  if (!writer_) return;
  const EvalResult& all = results.front();
  std::vector<io::JsonLine> datasets, positions;
  for (const PositionLoss& p : all.by_position) {
    positions.push_back(
        io::JsonLine().add("from", p.first).add("loss", p.loss).add("labels", p.labels));
  }
  char text[160];
  const auto report = [&](const char* what, const EvalResult& r) {
    std::snprintf(text, sizeof text, "step %lld  validation%s%s: %.4f nats, %.4f bits per byte",
                  static_cast<long long>(step), *what ? " on " : "", what, r.loss, r.bits_per_byte);
    log_.info(text);
  };
  report("", all);
  for (std::size_t i = 1; i < results.size(); ++i) {
    const EvalResult& r = results[i];
    datasets.push_back(io::JsonLine()
                           .add("name", r.name)
                           .add("loss", r.loss)
                           .add("bpb", r.bits_per_byte)
                           .add("labels", r.labels));
    if (results.size() > 2) report(r.name.c_str(), r);
  }
  put(io::JsonLine()
          .add("event", "eval")
          .add("step", step)
          .add("val_loss", all.loss)
          .add("val_bpb", all.bits_per_byte)
          .add("val_labels", all.labels)
          .add("by_position", positions)
          .add("datasets", datasets));
}

void Metrics::task(std::int64_t step, const ChoiceResult& r) {
  if (!writer_) return;
  put(io::JsonLine()
          .add("event", "task")
          .add("step", step)
          .add("task", r.name)
          .add("items", r.items)
          .add("acc", r.accuracy)
          .add("acc_stderr", r.standard_error)
          .add("acc_norm", r.accuracy_normalised)
          .add("acc_norm_stderr", r.standard_error_normalised));
  char text[160];
  std::snprintf(text, sizeof text,
                "step %lld  %s: %.2f +- %.2f %%, normalised %.2f +- %.2f %% (%lld items)",
                static_cast<long long>(step), r.name.c_str(), 100 * r.accuracy,
                100 * r.standard_error, 100 * r.accuracy_normalised,
                100 * r.standard_error_normalised, static_cast<long long>(r.items));
  log_.info(text);
}

void Metrics::stability(std::int64_t step, const Stability& results) {
  if (!writer_) return;
  std::vector<io::JsonLine> layers;
  for (const LayerStability& layer : results.layers) {
    io::JsonLine line;
    line.add("max_logit", layer.max_logit)
        .add("rank_v", layer.rank_v)
        .add("rank_out", layer.rank_out);
    if (std::isfinite(layer.tau_mean)) {
      line.add("tau_min", layer.tau_min)
          .add("tau_mean", layer.tau_mean)
          .add("tau_max", layer.tau_max);
    }
    if (!layer.conv0_taps.empty()) line.add("conv0_taps", layer.conv0_taps);
    if (!layer.conv1_taps.empty()) line.add("conv1_taps", layer.conv1_taps);
    layers.push_back(line);
  }
  put(io::JsonLine()
          .add("event", "probe")
          .add("step", step)
          .add("tokens", results.tokens)
          .add("layers", layers));
}

void Metrics::datasets(std::int64_t step, const std::vector<input::DatasetProgress>& progress) {
  if (!writer_) return;
  std::vector<io::JsonLine> lines;
  for (const input::DatasetProgress& set : progress) {
    lines.push_back(io::JsonLine()
                        .add("name", set.name)
                        .add("share", set.share)
                        .add("tokens", set.tokens)
                        .add("epochs", set.epochs));
    if (progress.size() == 1) continue;
    char text[160];
    std::snprintf(text, sizeof text, "step %lld  %s: %.3g tokens, %.2f epochs",
                  static_cast<long long>(step), set.name.c_str(), static_cast<double>(set.tokens),
                  set.epochs);
    log_.info(text);
  }
  put(io::JsonLine().add("event", "data").add("step", step).add("datasets", lines));
}

void Metrics::memory(std::int64_t step, const StepPlan& plan,
                     const std::vector<RankMemory>& ranks) {
  if (!writer_) return;
  std::vector<io::JsonLine> lines;
  for (const RankMemory& rank : ranks) {
    lines.push_back(
        io::JsonLine().add("planned_bytes", rank.planned).add("measured_bytes", rank.measured));
  }
  io::JsonLine categories;
  for (const MemoryItem& item : plan.memory) categories.add(item.category, item.bytes);
  put(io::JsonLine()
          .add("event", "memory")
          .add("step", step)
          .add("planned_bytes", plan.total_bytes())
          .add("measured_bytes", ranks.front().measured)
          .add("ranks", lines)
          .add("categories", categories));
}

void Metrics::event(const std::string& name, std::int64_t step, const std::string& detail) {
  if (!writer_) return;
  put(io::JsonLine().add("event", name).add("step", step).add("detail", detail));
}

}  // namespace strait::train
