#include <cstdio>

#include "train/plan_report.h"

namespace strait::train {
namespace {

template <class... Values>
std::string line(const char* format, Values... values) {
  char text[512];
  std::snprintf(text, sizeof text, format, values...);
  return text;
}

std::string parameters(const PlanReport& report) {
  std::string text = line("%-28s %16s %16s\n", "parameters", "total", "active");
  const auto row = [&](const std::string& part, std::int64_t total, std::int64_t active) {
    text += line("  %-26s %16lld %16lld\n", part.c_str(), static_cast<long long>(total),
                 static_cast<long long>(active));
  };
  for (const model::PartCount& part : report.counts.parts) {
    row(part.part, part.parameters, part.active);
  }
  const std::int64_t total = report.counts.parameters(), active = report.counts.active();
  row("all", total, active);
  row("without embedding and head", report.non_embedding(),
      active - (total - report.non_embedding()));
  return text;
}

std::string flops(const PlanReport& report) {
  std::string text = "training FLOPs per token (3 x forward)\n";
  const auto row = [&](const std::string& part, double forward) {
    if (forward > 0) text += line("  %-26s %16.6g\n", part.c_str(), 3 * forward);
  };
  for (const model::PartCount& part : report.counts.parts) row(part.part, part.flops_per_token);
  row("attention core", report.pairs_per_token * report.counts.core_flops_per_pair);
  row("all", report.training_flops_per_token() / 3);
  text += line("  (core: documents of %lld tokens, %s; %g keys a token)\n",
               static_cast<long long>(report.config.data.seq_len),
               report.config.model.attention.causal ? "half of the causal scores" : "not causal",
               report.pairs_per_token);
  text += line(
      "  MFU = FLOPs per token x tokens/s / peak, peak %.1f TFLOP/s (dense BF16 of an H100 SXM)\n"
      "  100 %% MFU on one: %.0f tokens/s\n",
      kPeakFlops * 1e-12, kPeakFlops / report.training_flops_per_token());
  return text;
}

std::string memory(const PlanReport& report) {
  const config::Config& config = report.config;
  std::string text = line("memory of a rank (micro-batch %lld x %lld tokens)\n",
                          static_cast<long long>(config.train.micro_batch),
                          static_cast<long long>(config.data.seq_len));
  return text + memory_table({.memory = report.work.memory, .ops = {}});
}

std::string cost_row(const std::string& name, const std::string& sizes,
                     const model::LayerCost& cost) {
  const std::string decode =
      cost.decode_flops ? line("%12.5g", *cost.decode_flops) : line("%12s", "two modes");
  return line("  %-7s %-18s %12.0f %14.0f %12.5g ", name.c_str(), sizes.c_str(), cost.parameters,
              cost.cache, cost.forward_flops) +
         decode + "\n";
}

std::string table(const PlanReport& report) {
  const model::TableSymbols& t = report.symbols;
  std::string text = line(
      "Table II (arXiv 2510.04476): one layer, one sequence, scores not halved by the mask\n"
      "  D %g, S %g, C1 %g, C2 %g, g %g, d %g, rope of MLA %g, taps %g and %g\n"
      "  %-7s %-18s %12s %14s %12s %12s\n",
      t.D, t.S, t.C1, t.C2, t.g, t.d, t.d_rope, t.n0, t.n1, "", "", "parameters", "cache elements",
      "forward", "decode/token");
  for (const model::TableRow& row : report.table)
    text += cost_row(row.variant, row.sizes, row.cost);
  return text;
}

std::string direct(const PlanReport& report) {
  const double S = report.symbols.S;
  std::string text = "this config's layer, item by item\n";
  for (const model::AttentionItem& item : report.direct.count.items) {
    const double forward = item.multiplied() ? 2 * S * static_cast<double>(item.parameters) : 0;
    text += line("  %-26s %12lld %14s %12.5g\n", item.name.c_str(),
                 static_cast<long long>(item.parameters), "", forward);
  }
  text += line("  %-26s %12s %14s %12.5g\n", "core", "", "",
               2 * S * S * static_cast<double>(report.direct.count.core_width));
  text += cost_row("all", "", report.direct.cost);
  for (const model::DecodeMode& mode : report.direct.decode) {
    if (report.direct.decode.size() < 2) break;
    text += line("  decode, %-49s %12.5g\n", mode.name.c_str(), mode.flops);
  }
  return text;
}

std::string traffic(const PlanReport& report) {
  if (report.traffic.empty()) return "";
  std::string text =
      "bytes that rank 0 sends to context, tensor and (balanced routing) expert ranks in a step\n";
  for (const model::BoundaryBytes& term : report.traffic) {
    text += line("  %-18s %16.0f  (layer and micro-batch: %s)\n", term.boundary.c_str(), term.bytes,
                 term.formula.c_str());
  }
  return text + "\n";
}

std::string exchange(const PlanReport& report) {
  if (report.ranks == 1) return "";
  std::string text =
      line("bytes that rank 0 of %d sends in a step, all boundaries\n", report.ranks);
  for (const auto& [what, bytes] : report.work.bytes_sent) {
    text += line("  %-26s %16.0f\n", what.c_str(), bytes);
  }
  return text + line("  %-26s %16.0f\n\n", "all", report.work.all_bytes_sent());
}

std::string prediction(const PlanReport& report) {
  if (!report.prediction) {
    const bool bf16 = report.config.precision.compute == config::Compute::bf16;
    return bf16 ? "" : "no predicted step: rates are those of --set precision.compute=bf16\n\n";
  }
  const Prediction& p = *report.prediction;
  std::string text = line("predicted step on %d x %s\n", report.ranks, p.device.c_str());
  const auto row = [&](const char* what, double seconds) {
    text += line("  %-26s %16.2f ms\n", what, 1e3 * seconds);
  };
  row("matrix products", p.products);
  row("attention core", p.core);
  row("other ops", p.rest);
  if (p.exchange) {
    row("exchange, if none is hidden", *p.exchange);
    if (!p.link_device.empty()) text += "  (bytes between ranks as on " + p.link_device + ")\n";
  } else {
    text += line("  %-26s %16s (no bandwidth between ranks was measured)\n", "exchange", "?");
  }
  row(p.exchange ? "all" : "all but the exchange", p.step());
  text += line("  %.0f tokens/s, MFU %.1f %%; %lld steps: %.4g GPU-hours%s\n",
               report.tokens_per_second(), 100 * report.mfu(),
               static_cast<long long>(report.config.train.steps), report.gpu_hours(),
               p.exchange ? "" : ", without the exchange");
  if (!p.without_rate.empty()) {
    text += "  at the copy bandwidth, not measured themselves: " + p.without_rate + "\n";
  }
  if (!p.other_heads.empty()) {
    text +=
        "  by rates of other kernels than those it runs, expect a longer step: " + p.other_heads +
        "\n";
  }
  return text + "\n";
}

}  // namespace

std::string to_text(const PlanReport& report) {
  return parameters(report) + "\n" + flops(report) + "\n" +
         line("key/value cache: %lld bytes per token (bf16)\n\n",
              static_cast<long long>(report.cache_bytes_per_token())) +
         memory(report) + "\n" + traffic(report) + exchange(report) + prediction(report) +
         table(report) + "\n" + direct(report);
}

}  // namespace strait::train
