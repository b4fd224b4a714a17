#include <cmath>

#include "io/json_lines.h"
#include "train/plan_report.h"

namespace strait::train {
namespace {

using io::JsonLine;

JsonLine cost(const model::LayerCost& cost) {
  JsonLine object;
  object.add("parameters", cost.parameters)
      .add("cache_elements", cost.cache)
      .add("forward_flops", cost.forward_flops)
      .add("decode_flops_per_token", cost.decode_flops.value_or(std::nan("")));
  return object;
}

JsonLine parameters(const PlanReport& report) {
  JsonLine object;
  object.add("total", report.counts.parameters())
      .add("active", report.counts.active())
      .add("non_embedding", report.non_embedding());
  std::vector<JsonLine> parts;
  for (const model::PartCount& part : report.counts.parts) {
    parts.emplace_back()
        .add("part", part.part)
        .add("total", part.parameters)
        .add("active", part.active);
  }
  return object.add("parts", parts);
}

JsonLine flops(const PlanReport& report) {
  JsonLine object;
  object.add("total", report.training_flops_per_token())
      .add("keys_per_token", report.pairs_per_token)
      .add("peak_flops", kPeakFlops)
      .add("mfu", "total * tokens per second / peak_flops");
  std::vector<JsonLine> parts;
  for (const model::PartCount& part : report.counts.parts) {
    parts.emplace_back().add("part", part.part).add("flops", 3 * part.flops_per_token);
  }
  parts.emplace_back()
      .add("part", "attention core")
      .add("flops", 3 * report.pairs_per_token * report.counts.core_flops_per_pair);
  return object.add("parts", parts);
}

JsonLine memory(const PlanReport& report) {
  JsonLine object;
  for (const MemoryItem& item : report.work.memory) object.add(item.category, item.bytes);
  return object.add("total", report.memory_bytes());
}

std::vector<JsonLine> traffic(const PlanReport& report) {
  std::vector<JsonLine> terms;
  for (const model::BoundaryBytes& term : report.traffic) {
    terms.emplace_back()
        .add("boundary", term.boundary)
        .add("bytes", term.bytes)
        .add("formula", term.formula);
  }
  return terms;
}

JsonLine prediction(const PlanReport& report) {
  JsonLine object;
  if (!report.prediction) return object;
  const Prediction& p = *report.prediction;
  object.add("device", p.device)
      .add("ranks", report.ranks)
      .add("products_s", p.products)
      .add("core_s", p.core)
      .add("rest_s", p.rest)
      .add("exchange_s", p.exchange.value_or(std::nan("")))
      .add("links_of", p.link_device)
      .add("step_s", p.step())
      .add("tok_s", report.tokens_per_second())
      .add("mfu", report.mfu())
      .add("steps", report.config.train.steps)
      .add("gpu_hours", report.gpu_hours())
      .add("without_rate", p.without_rate)
      .add("other_heads", p.other_heads);
  return object;
}

JsonLine exchange(const PlanReport& report) {
  JsonLine object;
  for (const auto& [what, bytes] : report.work.bytes_sent) object.add(what, bytes);
  return object.add("total", report.work.all_bytes_sent());
}

JsonLine table(const PlanReport& report) {
  const model::TableSymbols& t = report.symbols;
  JsonLine object;
  object.add("D", t.D).add("S", t.S).add("C1", t.C1).add("C2", t.C2).add("g", t.g);
  object.add("d", t.d).add("d_rope", t.d_rope).add("n0", t.n0).add("n1", t.n1);
  std::vector<JsonLine> rows;
  for (const model::TableRow& row : report.table) {
    rows.push_back(cost(row.cost).add("variant", row.variant).add("sizes", row.sizes));
  }
  return object.add("rows", rows);
}

JsonLine direct(const PlanReport& report) {
  JsonLine object = cost(report.direct.cost);
  std::vector<JsonLine> items, modes;
  for (const model::AttentionItem& item : report.direct.count.items) {
    items.emplace_back().add("item", item.name).add("parameters", item.parameters);
  }
  for (const model::DecodeMode& mode : report.direct.decode) {
    modes.emplace_back().add("mode", mode.name).add("flops_per_token", mode.flops);
  }
  return object.add("items", items).add("decode", modes);
}

}  // namespace

std::string to_json(const PlanReport& report) {
  JsonLine object;
  object.add("config", report.config.run.name)
      .add("parameters", parameters(report))
      .add("training_flops_per_token", flops(report))
      .add("cache_bytes_per_token", report.cache_bytes_per_token())
      .add("memory_bytes", memory(report))
      .add("bytes_sent", traffic(report))
      .add("exchange_bytes", exchange(report))
      .add("prediction", prediction(report))
      .add("table_2", table(report))
      .add("layer", direct(report));
  return object.text();
}

}  // namespace strait::train
