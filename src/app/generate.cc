#include <cstdio>
#include <string>

#include "app/support/program.h"
#include "core/error.h"
#include "io/checkpoint.h"
#include "train/data.h"
#include "train/load_config.h"
#include "train/plan.h"
#include "train/sample.h"

namespace {

using namespace strait;

struct Request {
  std::string run;
  std::string prompt = "\n";
  std::string tokens = "200";
  std::string temperature = "0.8";
  std::string seed = "1";
  bool help = false;
};

std::vector<app::Option> options_of(Request& request) {
  const auto text = [](std::string& into) {
    return [&into](const std::string& value) { into = value; };
  };
  return {{.name = "--run", .value = "DIR", .help = "run folder", .take = text(request.run)},
          {.name = "--prompt",
           .value = "TEXT",
           .help = "text to continue (default: a line break)",
           .take = text(request.prompt)},
          {.name = "--tokens",
           .value = "N",
           .help = "tokens to generate (200)",
           .take = text(request.tokens)},
          {.name = "--temperature",
           .value = "X",
           .help = "0: most likely token (0.8)",
           .take = text(request.temperature)},
          {.name = "--seed", .value = "N", .help = "of the draw (1)", .take = text(request.seed)},
          {.name = "--help", .help = "this text", .take = [&](const std::string&) {
             request.help = true;
           }}};
}

double number(const std::string& name, const std::string& text, double low) {
  std::size_t used = 0;
  double value = 0;
  try {
    value = std::stod(text, &used);
  } catch (const std::exception&) {
    used = 0;
  }
  if (used == 0 || used != text.size() || !(value >= low)) {
    throw core::InputError(name + " " + text + ": expected a number of at least " +
                           std::to_string(low));
  }
  return value;
}

/// The newest checkpoint of a run in an engine that can hold one sequence.
void load_run(const std::string& run, train::Engine& engine) {
  train::plan_step(engine);
  engine.allocate(Device::cpu);
  const io::FoundCheckpoint found = io::find_checkpoint(run + "/checkpoints");
  if (!found.folder) {
    throw core::InputError("--run " + run + ": holds no complete checkpoint");
  }
  io::load_checkpoint(*found.folder, engine.table(), engine.ctx().stream);
}

void run(const Request& request) {
  const train::SampleOptions base{
      .tokens = static_cast<std::int64_t>(number("--tokens", request.tokens, 1)),
      .rule = {.temperature = number("--temperature", request.temperature, 0)},
      .seed = static_cast<std::uint64_t>(number("--seed", request.seed, 0))};
  if (request.run.empty()) throw core::InputError("--run is missing; name a run folder");
  const config::Config config = train::load_config(
      {.name = request.run + "/config.json",
       .overrides = {"parallel.dp=1", "train.micro_batch=1", "train.batch_size=1"}},
      1, kernels::available(Device::cuda));
  parallel::Groups alone;
  train::Engine engine(config, {}, alone);
  load_run(request.run, engine);
  const auto tokenizer = input::make_tokenizer(config.data.tokenizer);
  const auto prompt = tokenizer->encode(request.prompt);
  if (prompt.empty()) throw core::InputError("--prompt: must not be empty");
  train::SampleOptions options = base;
  options.stop = tokenizer->eod();
  const std::string text = tokenizer->decode(train::sample(engine, prompt, options));
  std::printf("%s%s\n", request.prompt.c_str(), text.c_str());
}

}  // namespace

int main(int argc, char** argv) {
  return app::guarded("generate", [&] {
    Request request;
    const std::vector<app::Option> options = options_of(request);
    app::parse_arguments(argc, argv, options);
    if (request.help) {
      std::fputs(app::usage("./generate --run DIR [--prompt TEXT]", options).c_str(), stdout);
      return;
    }
    run(request);
  });
}
