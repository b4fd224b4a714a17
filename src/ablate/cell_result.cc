#include "ablate/cell_result.h"

#include <algorithm>
#include <chrono>
#include <ctime>

#include "ablate/json_lines.h"
#include "core/files.h"

namespace strait::ablate {
namespace {

namespace fs = std::filesystem;

double number_in(const JsonTree& tree, std::string_view name) {
  const JsonTree* value = tree.find(name);
  return value ? value->number() : 0;
}

std::string text_in(const JsonTree& tree, std::string_view name) {
  const JsonTree* value = tree.find(name);
  return value ? value->text() : "";
}

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::ranges::nth_element(values, middle);
  return *middle;
}

JsonTree read_object(const fs::path& path) {
  std::error_code ignored;
  if (!fs::exists(path, ignored)) return JsonTree::object();
  return config::read_tree(core::read_file(path), path.string());
}

/// What the lines of metrics.jsonl say about the run as a whole.
struct Digest {
  std::int64_t last_step = 0, evaluated = -1;
  double val_loss = 0, val_bpb = 0, epochs = 0, peak_bytes = 0, tokens = 0;
  JsonTree datasets = JsonTree::array();
  std::vector<double> rates;
  bool is_number = false;  // the last validation loss

  void event(const JsonTree& line) {
    const std::string name = text_in(line, "event");
    if (name == "eval") {
      evaluated = static_cast<std::int64_t>(number_in(line, "step"));
      const JsonTree* loss = line.find("val_loss");
      is_number = loss && loss->is(JsonTree::Kind::number);
      val_loss = number_in(line, "val_loss");
      val_bpb = number_in(line, "val_bpb");
      if (const JsonTree* sets = line.find("datasets")) datasets = *sets;
    } else if (name == "data") {
      const JsonTree* sets = line.find("datasets");
      if (!sets) return;
      for (const JsonTree& set : sets->items()) epochs = std::max(epochs, number_in(set, "epochs"));
    } else if (name == "memory") {
      peak_bytes = number_in(line, "measured_bytes");
    }
  }

  void step(const JsonTree& line) {
    last_step = static_cast<std::int64_t>(number_in(line, "step"));
    tokens = number_in(line, "tokens");
    rates.push_back(number_in(line, "tok_s"));
  }
};

Digest digest(const fs::path& folder) {
  Digest found;
  for (const JsonTree& line : read_lines(folder / "metrics.jsonl")) {
    line.find("event") ? found.event(line) : found.step(line);
  }
  const auto warm = static_cast<std::ptrdiff_t>(found.rates.size() / 10);
  found.rates.erase(found.rates.begin(), found.rates.begin() + warm);
  return found;
}

}  // namespace

CellResult read_run(const fs::path& folder, const Cell& cell) {
  const Digest found = digest(folder);
  CellResult result{.hash = cell.hash,
                    .val_loss = found.val_loss,
                    .val_bpb = found.val_bpb,
                    .tok_s = median(found.rates)};
  const bool ended =
      found.last_step == cell.config.train.steps && found.evaluated == found.last_step;
  result.done = ended && found.is_number;
  if (ended && !found.is_number) result.error = "the validation loss is no number";
  const JsonTree provenance = read_object(folder / "provenance.json");
  result.file = JsonTree::object();
  result.file.set("device", text_in(provenance, "device"))
      .set("revision", text_in(provenance, "revision"))
      .set("lr", cell.config.optim.lr)
      .set("steps", found.last_step)
      .set("tokens", found.tokens)
      .set("epochs", found.epochs);
  if (found.is_number) {
    result.file.set("val_loss", found.val_loss)
        .set("val_bpb", found.val_bpb)
        .set("datasets", found.datasets);
  }
  result.file.set("tok_s", result.tok_s).set("peak_bytes", found.peak_bytes);
  return result;
}

void write_cell(const fs::path& folder, const Cell& cell, CellResult& result) {
  const Counts counts = count(cell.config);
  JsonTree file = JsonTree::object();
  file.set("schema", 1)
      .set("variant", cell.variant)
      .set("budget", cell.budget)
      .set("seed", cell.seed)
      .set("hash", cell.hash)
      .set("status", result.done ? "done" : "failed")
      .set("exit_code", result.exit_code)
      .set("attempts", result.attempts);
  if (!result.done) file.set("error", result.error);
  file.set("imported", false)
      .set("wall_s", result.wall_s)
      .set("jobs_per_gpu", result.jobs_per_gpu)
      .set("started", result.started)
      .set("ended", result.ended);
  file.merge(result.file);
  file.set("counts", to_tree(counts))
      .set("train_flops", number_in(file, "tokens") * counts.train_flops_per_token);
  result.file = file;
  std::error_code ignored;
  fs::create_directories(folder, ignored);
  core::write_file_atomically(folder / "cell.json",
                              [&](std::ostream& out) { out << to_text(file, 2) << "\n"; });
}

std::optional<CellResult> read_cell(const fs::path& folder) {
  std::error_code ignored;
  if (!fs::exists(folder / "cell.json", ignored)) return std::nullopt;
  const JsonTree file = read_object(folder / "cell.json");
  return CellResult{.done = text_in(file, "status") == "done",
                    .exit_code = static_cast<int>(number_in(file, "exit_code")),
                    .attempts = static_cast<int>(number_in(file, "attempts")),
                    .error = text_in(file, "error"),
                    .wall_s = number_in(file, "wall_s"),
                    .jobs_per_gpu = static_cast<std::int64_t>(number_in(file, "jobs_per_gpu")),
                    .started = text_in(file, "started"),
                    .ended = text_in(file, "ended"),
                    .hash = text_in(file, "hash"),
                    .val_loss = number_in(file, "val_loss"),
                    .val_bpb = number_in(file, "val_bpb"),
                    .tok_s = number_in(file, "tok_s"),
                    .file = file};
}

void copy_slim(const fs::path& from, const fs::path& to, std::size_t lines) {
  fs::create_directories(to);
  const std::vector<JsonTree> all = read_lines(from / "metrics.jsonl");
  const auto steps = static_cast<std::size_t>(
      std::ranges::count_if(all, [](const JsonTree& line) { return !line.find("event"); }));
  const std::size_t every = std::max<std::size_t>((steps + lines - 1) / lines, 1);
  core::write_file_atomically(to / "metrics.jsonl", [&](std::ostream& out) {
    std::size_t step = 0;
    for (const JsonTree& line : all) {
      if (line.find("event") || ++step % every == 0) out << to_text(line) << "\n";
    }
  });
  JsonTree file = read_object(from / "cell.json");
  file.set("imported", true);
  core::write_file_atomically(to / "cell.json",
                              [&](std::ostream& out) { out << to_text(file, 2) << "\n"; });
}

std::string utc_time(double seconds) {
  const auto later = std::chrono::duration_cast<std::chrono::system_clock::duration>(
      std::chrono::duration<double>(seconds));
  const std::time_t time =
      std::chrono::system_clock::to_time_t(std::chrono::system_clock::now() + later);
  std::tm utc{};
  ::gmtime_r(&time, &utc);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
  return text;
}

}  // namespace strait::ablate
