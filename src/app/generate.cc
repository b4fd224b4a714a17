#include <chrono>
#include <cstdio>
#include <optional>
#include <sstream>

#include "app/support/program.h"
#include "core/error.h"
#include "train/open_model.h"
#include "train/sample.h"

namespace {

using namespace strait;

constexpr const char* kLineBreak = "\n";
constexpr std::int64_t kMostTokens = 1 << 24;  // as long as a sequence may be

struct Request {
  train::ModelSource source;
  std::optional<std::string> prompt;         // else a line break
  std::optional<std::string> prompt_tokens;  // instead of it
  std::string device = "auto";
  train::SampleOptions sample{.tokens = 200, .rule = {}, .seed = 1, .stop = -1};
};

std::vector<app::Option> options_of(Request& request) {
  train::SampleOptions& sample = request.sample;
  return {
      app::text("--run", "DIR", "folder of the run", request.source.run),
      app::text("--hf", "DIR", "or a Hugging Face folder", request.source.hf),
      app::text("--prompt", "TEXT", "text to continue (default: a line break)", request.prompt),
      app::text("--prompt-tokens", "1,2,..", "the prompt as token numbers; prints numbers",
                request.prompt_tokens),
      app::count("--tokens", "N", "tokens to generate (200)", sample.tokens, 1, kMostTokens),
      app::number("--temperature", "X", "0: most likely token (0.8)", sample.rule.temperature, 0),
      app::count("--top-k", "N", "of the N likeliest tokens; 0: of all (0)", sample.rule.top_k, 0),
      app::number("--top-p", "X", "of the fewest tokens that hold X of the probability (1)",
                  sample.rule.top_p, 0, 1),
      app::count("--seed", "N", "of the draw (1)", sample.seed, 0),
      app::text("--device", "NAME", "auto, cpu or cuda (auto)", request.device)};
}

Device device_of(const std::string& name) {
  const bool cuda = kernels::available(Device::cuda);
  if (name == "cpu" || (name == "auto" && !cuda)) return Device::cpu;
  if (name == "auto" || (name == "cuda" && cuda)) return Device::cuda;
  throw core::InputError("--device " + name + ": expected auto, cpu or cuda" +
                         (name == "cuda" ? ", and this machine or build has no GPU" : ""));
}

std::vector<std::int32_t> numbers_of(const std::string& list) {
  std::vector<std::int32_t> tokens;
  std::istringstream parts(list);
  for (std::string part; std::getline(parts, part, ',');) {
    tokens.push_back(static_cast<std::int32_t>(app::count("--prompt-tokens", part, 0)));
  }
  return tokens;
}

std::vector<std::int32_t> prompt_of(const Request& request, const train::OpenModel& model) {
  if (request.prompt_tokens) return numbers_of(*request.prompt_tokens);
  if (!model.tokenizer) {
    throw core::InputError("--hf " + request.source.hf +
                           ": its tokenizer is not known here; give the prompt as numbers with "
                           "--prompt-tokens");
  }
  return model.tokenizer->encode(request.prompt.value_or(kLineBreak));
}

void require_tokens(const std::vector<std::int32_t>& prompt, const char* option,
                    std::int64_t vocab) {
  if (prompt.empty()) {
    throw core::InputError(std::string(option) +
                           ": must not be empty; leave it out to begin at a line break");
  }
  for (const std::int32_t token : prompt) {
    if (token < vocab) continue;
    throw core::InputError("--prompt-tokens: " + std::to_string(token) + " is not below " +
                           std::to_string(vocab) + ", the tokens of the model");
  }
}

/// Text as it comes, or numbers at the end.
void print(const train::OpenModel& model, bool numbers, std::int32_t token) {
  app::print(numbers ? std::to_string(token) + " " : model.tokenizer->decode(std::span(&token, 1)));
}

/// Of a run the length it was trained on is known.
void warn_of_length(const Request& request, const config::Config& config, std::size_t prompt) {
  const std::int64_t all = static_cast<std::int64_t>(prompt) + request.sample.tokens;
  if (request.source.run.empty() || all <= config.data.seq_len) return;
  std::fprintf(stderr,
               "generate: warning: %zu tokens and up to %lld more, but the model was trained on "
               "data.seq_len = %lld: what lies beyond may be poor; shorten --prompt or lower "
               "--tokens\n",
               prompt, static_cast<long long>(request.sample.tokens),
               static_cast<long long>(config.data.seq_len));
}

void run(Request& request) {
  if (request.prompt && request.prompt_tokens) {
    throw core::InputError("--prompt and --prompt-tokens: both name a prompt; leave one out");
  }
  const Device device = device_of(request.device);
  // The room a text needs is known once its prompt is, and that takes the tokenizer alone.
  const bool numbers = request.prompt_tokens.has_value();
  const std::string given = numbers ? *request.prompt_tokens : request.prompt.value_or(kLineBreak);
  const std::int64_t room = static_cast<std::int64_t>(given.size()) + request.sample.tokens;
  train::OpenModel model = train::open_model(request.source, room + 1, device);
  const std::vector<std::int32_t> prompt = prompt_of(request, model);
  require_tokens(prompt, numbers ? "--prompt-tokens" : "--prompt", model.decoder->vocab_size());
  warn_of_length(request, model.config, prompt.size());
  if (model.tokenizer && !numbers) request.sample.stop = model.tokenizer->eod();
  if (!numbers) app::print(given);
  using Clock = std::chrono::steady_clock;
  const Clock::time_point begin = Clock::now();
  const auto tokens = train::generate(*model.decoder, prompt, request.sample,
                                      [&](std::int32_t token) { print(model, numbers, token); });
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  app::print("\n");
  std::fprintf(stderr, "%zu tokens after %zu, %.1f tok/s; cache %lld bytes per token + %lld\n",
               tokens.size(), prompt.size(), static_cast<double>(tokens.size()) / seconds,
               static_cast<long long>(model.decoder->cache_bytes_per_token()),
               static_cast<long long>(model.decoder->cache_fixed_bytes()));
}

}  // namespace

int main(int argc, char** argv) {
  return app::guarded("generate", [&] {
    Request request;
    const char* synopsis = "./generate --run DIR [--prompt TEXT]";
    if (app::parse_arguments(argc, argv, synopsis, options_of(request))) run(request);
  });
}
