#include <cstdio>
#include <thread>

#include "app/support/program.h"
#include "core/error.h"
#include "core/log.h"
#include "input/text/document_reader.h"
#include "input/text/tokenize_job.h"
#include "input/text/train_sentencepiece.h"

namespace {

using namespace strait;

struct Request {
  std::vector<std::string> inputs;
  std::string output;
  std::int64_t vocabulary = 0;  // of a SentencePiece model to train; 0: tokenize
  std::int64_t window_tokens = 32768;
  std::int64_t part_mb = 256;
  input::TokenizeOptions options;
};

/// An option whose value is one of two words.
bool second_of(const std::string& name, const std::string& text, const std::string& first,
               const std::string& second) {
  if (text == first || text == second) return text == second;
  throw core::InputError(name + " " + text + ": expected " + first + " or " + second);
}

constexpr std::int64_t kMost = std::int64_t{1} << 40;

std::vector<app::Option> order_options(Request& request) {
  input::TokenizeOptions& o = request.options;
  return {
      {.name = "--order",
       .value = "WORD",
       .help = "given: as they come; mixpr: related documents side by side (given)",
       .take = [&](const std::string& v) { o.mixpr = second_of("--order", v, "given", "mixpr"); }},
      app::count("--order-window", "TOKENS",
                 "mixpr: of related documents; best a few data.seq_len (32768)",
                 request.window_tokens, 1, kMost),
      app::number("--order-random", "SHARE", "mixpr: windows that are filled by chance (0.1)",
                  o.order.random_share, 0, 1),
      app::count("--order-part", "MB", "mixpr: text that is ordered at once, in memory (256)",
                 request.part_mb, 1, 65536),
      app::count("--seed", "N", "mixpr: of its chance (1)", o.order.seed, 0, kMost)};
}

std::vector<app::Option> options_of(Request& request) {
  input::TokenizeOptions& o = request.options;
  std::vector<app::Option> options = {
      app::texts(
          "--input", "PATH",
          "a .jsonl, .json, .ndjson or .txt file (also .xz, .zst), a quoted pattern of such, "
          "or a folder; may be repeated",
          request.inputs),
      app::text("--output", "PREFIX", "of PREFIX-00000.tok, ... and PREFIX.json (what was made)",
                request.output),
      app::text("--tokenizer", "NAME",
                "as data.tokenizer: bytes, a .model, a tokenizer.json, a folder (bytes)",
                o.tokenizer),
      {.name = "--format",
       .value = "WORD",
       .help = "strait, or llmc: shards of llm.c, .bin (strait)",
       .take =
           [&](const std::string& v) {
             o.format = second_of("--format", v, "strait", "llmc") ? config::DataFormat::llmc
                                                                   : config::DataFormat::strait;
           }},
      app::text("--text-key", "KEY", "of the text in a JSON line (text)", o.text_key),
      app::count("--shard-tokens", "N",
                 "a shard ends with the document that reaches N tokens (100000000)", o.shard_tokens,
                 1, kMost),
      app::count("--holdout", "N",
                 "every N-th document goes to PREFIX-val-*, the rest to PREFIX-train-*", o.holdout,
                 2, kMost),
      app::count("--threads", "N", "that encode (all cores)", o.threads, 1, 1024),
      app::count("--train-sentencepiece", "N",
                 "train a model of N tokens on the input instead, written to --output",
                 request.vocabulary, 300, std::int64_t{1} << 20)};
  for (app::Option& option : order_options(request)) options.push_back(std::move(option));
  return options;
}

std::string summary(const input::TextStatistics& s) {
  char text[200];
  std::snprintf(
      text, sizeof text, "%lld documents, %lld bytes, %lld tokens, %.3f bytes per token",
      static_cast<long long>(s.documents), static_cast<long long>(s.bytes),
      static_cast<long long>(s.tokens),
      static_cast<double>(s.bytes) / static_cast<double>(std::max<std::int64_t>(s.tokens, 1)));
  return text;
}

std::string line_of(const input::TokenizeProgress& p) {
  const double done =
      static_cast<double>(p.bytes) / static_cast<double>(std::max<std::uint64_t>(p.total_bytes, 1));
  const double left = done > 0 ? p.seconds * (1 - done) / done : 0;
  char text[200];
  std::snprintf(text, sizeof text, "%5.1f %% of %.1f MB  %.2fM tokens  %.2f Mtok/s  ETA %.0f s",
                100 * done, static_cast<double>(p.total_bytes) * 1e-6,
                static_cast<double>(p.statistics.tokens) * 1e-6,
                static_cast<double>(p.statistics.tokens) * 1e-6 / std::max(p.seconds, 1e-9), left);
  return text;
}

std::string line_of(const input::MixprOrdering& part) {
  char text[160];
  std::snprintf(text, sizeof text,
                "ordered %zu documents in %zu windows: mean cosine of two in a window %.4f, in "
                "random order %.4f",
                part.documents.size(), part.windows.size(), part.cosine, part.random_cosine);
  return text;
}

void run(Request& request) {
  input::TokenizeOptions& options = request.options;
  if (request.inputs.empty()) throw core::InputError("--input is missing; name a file or folder");
  if (request.output.empty()) throw core::InputError("--output is missing; name what to write");
  if (request.output.ends_with('/')) {
    throw core::InputError("--output " + request.output +
                           ": is a folder; expected a prefix, such as " + request.output +
                           "corpus");
  }
  for (const std::string& input : request.inputs) {
    for (const auto& file : input::text_files(input)) options.inputs.push_back(file);
  }
  core::Log log(0);
  if (request.vocabulary > 0) {
    input::train_sentencepiece({.inputs = options.inputs,
                                .output = request.output,
                                .text_key = options.text_key,
                                .vocab_size = request.vocabulary,
                                .threads = options.threads});
    log.info("wrote " + request.output);
    return;
  }
  options.output = request.output;
  options.part_bytes = request.part_mb << 20;
  constexpr std::int64_t kBytesPerToken = 4;  // of English in the usual vocabularies
  options.order.window_bytes =
      request.window_tokens * (options.tokenizer == "bytes" ? 1 : kBytesPerToken);
  options.on_part = [&](const input::MixprOrdering& part) { log.info(line_of(part)); };
  const auto manifest =
      input::tokenize(options, [&](const input::TokenizeProgress& p) { log.progress(line_of(p)); });
  log.info(summary(manifest.statistics) + "; " +
           std::to_string(manifest.shards.size() + manifest.held_out.size()) + " shards, see " +
           request.output + ".json");
}

}  // namespace

int main(int argc, char** argv) {
  return strait::app::guarded("tokenize", [&] {
    Request request;
    request.options.threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
    const char* synopsis = "./tokenize --input PATH --output PREFIX [--tokenizer NAME]";
    if (app::parse_arguments(argc, argv, synopsis, options_of(request))) run(request);
  });
}
