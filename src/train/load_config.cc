#include "train/load_config.h"

#include <numeric>

#include "input/tokenizer.h"
#include "io/hf_import.h"
#include "kernels/memory.h"

namespace strait::train {
namespace {

/// Leaves dp to the ranks of now, and lowers a micro-batch that does not divide their share of the
/// batch. What an option says stays, for the rules to judge.
void fit_to_ranks(config::Config& config, const config::Origins& origins, std::int64_t ranks) {
  const auto stored = [&](const char* key) { return origins.of(key) == origins.file(); };
  config::Parallel& parallel = config.parallel;
  if (stored("parallel.dp")) parallel.dp = 0;
  const std::int64_t dp = parallel.dp > 0 ? parallel.dp : ranks / (parallel.cp * parallel.tp);
  if (!stored("train.micro_batch") || dp < 1 || config.train.batch_size % dp != 0) return;
  config.train.micro_batch = std::gcd(config.train.micro_batch, config.train.batch_size / dp);
}

/// Whether there is a checkpoint to import; resolve says what is missing where there is none.
bool imports_model(const config::Config& config) {
  std::error_code unseen;
  return !config.init.from.empty() && config.model.d_model == 0 &&
         std::filesystem::exists(config::locate(config.init.from) / "config.json", unseen);
}

}  // namespace

config::Config load_config(const config::Source& source, std::int64_t ranks, bool cuda) {
  config::Origins origins = config::origin_of(source);
  config::Config config = config::read(source, &origins);
  if (source.stored) fit_to_ranks(config, origins, ranks);
  if (imports_model(config)) {
    config.model = io::model_from_hf(config::locate(config.init.from));
  }
  config::validate(config, origins);
  return config::resolve(
      std::move(config),
      {.ranks = ranks,
       .cuda = cuda,
       .vocab_of =
           [](const std::string& name) { return input::make_tokenizer(name)->vocab_size(); }},
      origins);
}

bool finds_gpu() {
  return kernels::available(kernels::Device::cuda);
}

}  // namespace strait::train
