#include "train/memory_check.h"

#include <functional>
#include <vector>

#include "config/words.h"
#include "core/error.h"

namespace strait::train {
namespace {

/// A setting that saves memory, as it is written on the command line.
struct Saving {
  std::string text;
  std::function<void(config::Config&)> apply;
};

/// Savings that `config` does not have yet, the cheapest in speed first.
std::vector<Saving> savings_of(const config::Config& config) {
  using config::Recompute;
  std::vector<Saving> savings;
  for (const Recompute kind : {Recompute::ffn, Recompute::block}) {
    if (kind <= config.train.recompute) continue;
    savings.push_back({"train.recompute=" + std::string(config::word(kind)),
                       [kind](config::Config& c) { c.train.recompute = kind; }});
  }
  for (std::int64_t n = config.train.micro_batch / 2; n >= 1; n /= 2) {
    if (config.train.micro_batch % n != 0) continue;
    savings.push_back({"train.micro_batch=" + std::to_string(n),
                       [n](config::Config& c) { c.train.micro_batch = n; }});
  }
  if (config.precision.states == config::Storage::wide) {
    savings.push_back({"precision.states=bf16",
                       [](config::Config& c) { c.precision.states = config::Storage::bf16; }});
  }
  return savings;
}

std::size_t bytes_with(const config::Config& config, const parallel::Mesh& mesh,
                       parallel::Groups& groups) {
  Engine engine(config, mesh, groups);
  return plan_step(engine).total_bytes();
}

/// A line for each saving, each on its own, and one for all of them together.
std::string savings_table(const MemoryLimit& limit, const config::Config& config,
                          const parallel::Mesh& mesh, parallel::Groups& groups) {
  std::string out;
  const auto line = [&](const std::string& what, const config::Config& changed) {
    const double bytes = static_cast<double>(bytes_with(changed, mesh, groups));
    const bool fits = bytes * limit.ranks <= static_cast<double>(limit.available);
    out += "  " + what + ": " + human_bytes(bytes) + (fits ? ", fits\n" : ", does not fit\n");
  };
  config::Config all = config;
  std::string together;
  for (const Saving& saving : savings_of(config)) {
    config::Config changed = config;
    saving.apply(changed);
    saving.apply(all);
    line(saving.text, changed);
    // Of several values of a key the last one stands, as on a command line.
    together += (together.empty() ? "" : " ") + saving.text;
  }
  if (!together.empty()) line("all of these", all);
  return out;
}

}  // namespace

void require_memory(const StepPlan& plan, const MemoryLimit& limit, const config::Config& config,
                    const parallel::Mesh& mesh, parallel::Groups& groups) {
  const double each = static_cast<double>(plan.total_bytes()), needed = each * limit.ranks;
  const auto available = static_cast<double>(limit.available);
  if (limit.available == 0 || needed <= available) return;
  throw core::InputError("this run needs " + human_bytes(needed) + " on " + limit.where + " (" +
                         std::to_string(limit.ranks) + " x " + human_bytes(each) + "), which has " +
                         human_bytes(available) + " free; per rank:\n" + memory_table(plan) +
                         "per rank with other settings:\n" +
                         savings_table(limit, config, mesh, groups) +
                         "or lower data.seq_len, use a smaller model, or more memory");
}

}  // namespace strait::train
