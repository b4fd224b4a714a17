#include "input/text/tokenize_job.h"

#include <chrono>
#include <cstdio>
#include <memory>

#include "core/error.h"
#include "core/files.h"
#include "input/text/document_batches.h"
#include "input/text/ordered_pipeline.h"
#include "input/token_shard.h"

namespace strait::input {
namespace {

namespace fs = std::filesystem;

struct Encoded {
  std::vector<std::int32_t> tokens;
  std::int64_t bytes = 0;  // of text
};

/// What must be the same for a job that goes on.
std::string settings_of(const TokenizeOptions& options, const Tokenizer& tokenizer) {
  std::string out = "tokenizer: " + std::string(tokenizer.name()) + "\nformat: " +
                    (options.format == config::DataFormat::llmc ? "llmc" : "strait") +
                    "\ntext key: " + options.text_key +
                    "\nshard tokens: " + std::to_string(options.shard_tokens) +
                    "\nholdout: " + std::to_string(options.holdout) + "\norder: ";
  out += !options.mixpr ? "given"
                        : "mixpr " + describe(options.order) + ", parts of " +
                              std::to_string(options.part_bytes) + " bytes";
  for (const fs::path& input : options.inputs) {
    out += "\ninput: " + input.string() + ", " + std::to_string(fs::file_size(input)) + " bytes";
  }
  return out;
}

/// The shards of one split, one open at a time.
class Shards {
 public:
  Shards(const TokenizeOptions& options, const Tokenizer& tokenizer, std::string tag,
         std::vector<std::string>& names)
      : options_(options), tokenizer_(tokenizer), tag_(std::move(tag)), names_(names) {}

  void append(std::span<const std::int32_t> document) {
    if (!writer_) {
      char number[16];
      std::snprintf(number, sizeof number, "-%05d", static_cast<int>(names_.size()));
      name_ = options_.output.filename().string() + tag_ + number +
              (options_.format == config::DataFormat::llmc ? ".bin" : ".tok");
      writer_ = std::make_unique<TokenShardWriter>(options_.output.parent_path() / name_,
                                                   tokenizer_, options_.format);
    }
    writer_->append(document);
  }
  bool full() const {
    return writer_ && writer_->tokens() >= static_cast<std::uint64_t>(options_.shard_tokens);
  }
  void finish() {
    if (!writer_) return;
    writer_->finish();
    writer_.reset();
    names_.push_back(name_);
  }

 private:
  const TokenizeOptions& options_;
  const Tokenizer& tokenizer_;
  std::string tag_, name_;
  std::vector<std::string>& names_;
  std::unique_ptr<TokenShardWriter> writer_;
};

/// The manifest to start from: that of a stopped job, or a new one.
TokenizeManifest begin_manifest(const fs::path& path, const std::string& settings) {
  const auto found = read_manifest(path);
  if (!found) return {.settings = settings, .shards = {}, .held_out = {}, .statistics = {}};
  if (found->settings == settings) return *found;
  throw core::InputError(path.string() + ": is of a job with other settings or inputs; remove it " +
                         "and its shards, or choose another --output. It was made with\n" +
                         found->settings + "\nand this is\n" + settings);
}

class Job {
 public:
  Job(const TokenizeOptions& options, const std::function<void(const TokenizeProgress&)>& progress)
      : options_(options),
        progress_(progress),
        tokenizer_(make_tokenizer(options.tokenizer)),
        path_(options.output.string() + ".json"),
        manifest_(begin_manifest(path_, settings_of(options, *tokenizer_))),
        statistics_(manifest_.statistics),
        documents_(manifest_.documents_done),
        train_(options, *tokenizer_, options.holdout > 0 ? "-train" : "", manifest_.shards),
        held_(options, *tokenizer_, "-val", manifest_.held_out) {}

  TokenizeManifest run() {
    if (manifest_.complete) return manifest_;
    core::make_folder_of(options_.output);
    DocumentReader reader(options_.inputs);
    const std::unique_ptr<DocumentBatches> batches = open_batches(reader);
    OrderedPipeline<std::vector<RawDocument>, std::vector<Encoded>> pipeline(
        options_.threads, [&] { return batches->next(); },
        [&](const std::vector<RawDocument>& batch) { return encode(batch); });
    while (const auto batch = pipeline.next()) {
      for (const Encoded& document : *batch) {
        if (write(document)) report(reader, true);
      }
      report(reader, false);
    }
    if (documents_ == 0) {
      throw core::InputError(options_.inputs[0].string() +
                             (options_.inputs.size() > 1 ? " and the other inputs" : "") +
                             ": no document with text; expected at least one");
    }
    save(true);
    report(reader, true);
    return manifest_;
  }

 private:
  std::unique_ptr<DocumentBatches> open_batches(DocumentReader& reader) const {
    const std::int64_t skip = manifest_.documents_done;
    if (!options_.mixpr) return std::make_unique<GivenOrder>(reader, skip);
    return std::make_unique<MixprOrder>(reader, skip, options_);
  }

  std::vector<Encoded> encode(const std::vector<RawDocument>& batch) const {
    std::vector<Encoded> out;
    for (const RawDocument& raw : batch) {
      const std::string text = text_of(raw, options_.text_key);
      try {
        out.push_back({tokenizer_->encode(text), static_cast<std::int64_t>(text.size())});
      } catch (const core::InputError& error) {
        throw core::InputError(raw.place + ": " + error.what());
      }
    }
    return out;
  }

  /// True when this ended a shard.
  bool write(const Encoded& document) {
    ++documents_;
    if (document.tokens.empty()) return false;
    const bool held = options_.holdout > 0 && documents_ % options_.holdout == 0;
    (held ? held_ : train_).append(document.tokens);
    statistics_.add(document.bytes, std::ssize(document.tokens) + 1);
    if (!train_.full()) return false;
    save(false);
    return true;
  }

  void save(bool complete) {
    train_.finish();
    held_.finish();
    manifest_.complete = complete;
    manifest_.documents_done = documents_;
    manifest_.statistics = statistics_;
    write_manifest(path_, manifest_);
  }

  void report(const DocumentReader& reader, bool now_due) {
    using Clock = std::chrono::steady_clock;
    const auto now = Clock::now();
    if (!now_due && now - reported_ < std::chrono::seconds(1)) return;
    reported_ = now;
    progress_({reader.consumed(), reader.total(), statistics_,
               std::chrono::duration<double>(now - began_).count()});
  }

  const TokenizeOptions& options_;
  const std::function<void(const TokenizeProgress&)>& progress_;
  std::unique_ptr<Tokenizer> tokenizer_;
  fs::path path_;
  TokenizeManifest manifest_;
  TextStatistics statistics_;
  std::int64_t documents_;  // taken from the input
  Shards train_, held_;
  std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now(), reported_{};
};

}  // namespace

TokenizeManifest tokenize(const TokenizeOptions& options,
                          const std::function<void(const TokenizeProgress&)>& progress) {
  return Job(options, progress).run();
}

}  // namespace strait::input
