#include <charconv>

#include "train/plan_report.h"

namespace strait::train {
namespace {

/// Lines "section,name,value"; names are quoted where they have a comma.
class Csv {
 public:
  void add(const std::string& section, const std::string& name, double value) {
    char digits[32];
    const auto [end, error] = std::to_chars(digits, digits + sizeof digits, value);
    text_ += section + "," + field(name) + "," + std::string(digits, end) + "\n";
  }
  void add(const std::string& section, const std::string& name, std::int64_t value) {
    text_ += section + "," + field(name) + "," + std::to_string(value) + "\n";
  }
  const std::string& text() const { return text_; }

 private:
  static std::string field(const std::string& name) {
    return name.find(',') == std::string::npos ? name : "\"" + name + "\"";
  }

  std::string text_ = "section,name,value\n";
};

void add_sizes(const PlanReport& report, Csv& csv) {
  for (const model::PartCount& part : report.counts.parts) {
    csv.add("parameters", part.part, part.parameters);
    csv.add("active parameters", part.part, part.active);
    csv.add("training FLOPs per token", part.part, 3 * part.flops_per_token);
  }
  csv.add("parameters", "all", report.counts.parameters());
  csv.add("parameters", "without embedding and head", report.non_embedding());
  csv.add("active parameters", "all", report.counts.active());
  csv.add("training FLOPs per token", "attention core",
          3 * report.pairs_per_token * report.counts.core_flops_per_pair);
  csv.add("training FLOPs per token", "all", report.training_flops_per_token());
  csv.add("cache bytes per token", "all", report.cache_bytes_per_token());
  for (const MemoryItem& item : report.work.memory) {
    csv.add("memory bytes", item.category, static_cast<std::int64_t>(item.bytes));
  }
  csv.add("memory bytes", "total", static_cast<std::int64_t>(report.memory_bytes()));
}

void add_prediction(const PlanReport& report, Csv& csv) {
  if (!report.prediction) return;
  const Prediction& p = *report.prediction;
  csv.add("predicted step seconds", "products", p.products);
  csv.add("predicted step seconds", "attention core", p.core);
  csv.add("predicted step seconds", "other ops", p.rest);
  if (p.exchange) csv.add("predicted step seconds", "exchange", *p.exchange);
  csv.add("predicted step seconds", "all", p.step());
  csv.add("prediction", "tokens per second", report.tokens_per_second());
  csv.add("prediction", "MFU", report.mfu());
  csv.add("prediction", "GPU-hours", report.gpu_hours());
}

}  // namespace

std::string to_csv(const PlanReport& report) {
  Csv csv;
  add_sizes(report, csv);
  for (const auto& [what, bytes] : report.work.bytes_sent) {
    csv.add("exchange bytes", what, static_cast<std::int64_t>(bytes));
  }
  csv.add("exchange bytes", "all", static_cast<std::int64_t>(report.work.all_bytes_sent()));
  add_prediction(report, csv);
  return csv.text();
}

}  // namespace strait::train
