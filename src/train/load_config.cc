#include "train/load_config.h"

#include "input/tokenizer.h"
#include "io/hf_import.h"
#include "kernels/memory.h"

namespace strait::train {

config::Config load_config(const config::Source& source, std::int64_t ranks, bool cuda) {
  config::Origins origins = config::origin_of(source);
  config::Config config = config::read(source, &origins);
  if (!config.init.from.empty() && config.model.d_model == 0) {
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
