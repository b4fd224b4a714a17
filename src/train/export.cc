#include "train/export.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>

#include "config/load.h"
#include "core/error.h"
#include "core/files.h"
#include "core/rng.h"
#include "io/hf_import.h"
#include "io/hf_tokenizer.h"

namespace strait::train {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kTokens = Decoder::kMaxRows;
/// Rounding of float32 sums in another order; exact formats are read back bit for bit.
constexpr double kTolerance = 1e-5;

void require_free(const fs::path& to) {
  if (to.empty()) throw core::InputError("--to is missing; name the folder to write");
  std::error_code ignored;
  if (!fs::exists(to, ignored)) return;
  if (fs::is_directory(to, ignored) && fs::is_empty(to, ignored)) return;
  throw core::InputError(to.string() + ": exists already; name a new folder, or remove it first");
}

/// Tokens that no text would hold, the same for every model.
std::vector<std::int32_t> probe(std::int64_t vocab) {
  const core::Rng rng(1, "export");
  std::vector<std::int32_t> tokens;
  for (std::uint64_t i = 0; i < static_cast<std::uint64_t>(kTokens); ++i) {
    tokens.push_back(static_cast<std::int32_t>(rng.uniform(i) * static_cast<double>(vocab)));
  }
  return tokens;
}

double largest_difference(const std::vector<double>& ours, const std::vector<double>& theirs) {
  double difference = 0, largest = 0;
  for (std::size_t i = 0; i < ours.size(); ++i) {
    const double d = std::abs(ours[i] - theirs[i]);
    difference = d > difference || std::isnan(d) ? d : difference;
    largest = std::max(largest, std::abs(ours[i]));
  }
  return difference / std::max(largest, 1e-30);
}

void write_tokenizer(const OpenModel& model, const ExportRequest& request, const fs::path& folder) {
  if (!request.source.hf.empty()) {
    io::copy_tokenizer_files(request.source.hf, folder);
    return;
  }
  const std::string& name = model.config.data.tokenizer;
  if (name == "bytes") return io::write_byte_tokenizer(folder, model.tokenizer->eod());
  const fs::path path = config::locate(name);
  io::copy_tokenizer_files(fs::is_directory(path) ? path : path.parent_path(), folder);
}

io::HfExportOptions options_of(const OpenModel& model, const ExportRequest& request) {
  io::HfExportOptions options{.dtype = request.dtype,
                              .shard_bytes = request.shard_bytes,
                              .own = request.own,
                              .like = request.source.hf};
  if (!request.source.run.empty()) {
    options.max_positions = model.config.data.seq_len;
    options.eos = model.tokenizer->eod();
  }
  return options;
}

void compare(OpenModel& model, const ExportRequest& request, ExportReport& report) {
  const std::vector<std::int32_t> tokens = probe(model.decoder->vocab_size());
  const std::vector<double> ours = model.decoder->read(tokens, kTokens);
  config::Config config = model.config;
  config.model = io::model_from_hf(request.to);
  Decoder decoder(config, kTokens, Device::cpu);
  io::load_hf_weights(request.to, decoder.table(), config.model, decoder.stream());
  report.difference = largest_difference(ours, decoder.read(tokens, kTokens));
  const bool rounds = request.dtype == io::HfDtype::bf16 || request.dtype == io::HfDtype::f16;
  report.exact = rounds ? std::isfinite(report.difference) : report.difference <= kTolerance;
}

/// The folder under its temporary name, then under its own. What was begun is removed when it
/// fails.
void write_folder(OpenModel& model, const ExportRequest& request, const fs::path& to,
                  ExportReport& report) {
  const fs::path temporary = to.string() + ".tmp" + std::to_string(::getpid());
  std::error_code refused;
  fs::create_directories(temporary, refused);
  if (refused) {
    throw core::InputError("--to " + to.string() + ": cannot be made (" + refused.message() +
                           "); choose a folder you may write to");
  }
  try {
    report.family = io::write_hf(temporary, model.decoder->table(), model.config.model,
                                 options_of(model, request), model.decoder->stream());
    write_tokenizer(model, request, temporary);
    fs::remove(to);
    core::publish(temporary, to);
  } catch (...) {
    fs::remove_all(temporary, refused);
    throw;
  }
}

}  // namespace

ExportReport export_model(const ExportRequest& request) {
  require_free(request.to);
  OpenModel model = open_model(request.source, kTokens, Device::cpu);
  ExportReport report{.family = {}, .weights = model.weights};
  // "folder/" has no name to append to.
  const fs::path to = request.to.has_filename() ? request.to : request.to.parent_path();
  try {
    write_folder(model, request, to, report);
  } catch (const fs::filesystem_error& error) {
    throw core::RuntimeFault(to.string() + ": cannot be written: " + error.what() +
                             "; choose a folder you may write to");
  }
  compare(model, request, report);
  return report;
}

}  // namespace strait::train
