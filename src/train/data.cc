#include "train/data.h"

#include "config/load.h"

namespace strait::train {

Data open_data(const config::Config& config) {
  Data data;
  data.tokenizer = input::make_tokenizer(config.data.tokenizer);
  input::DatasetOptions options{.train = config::locate(config.data.train),
                                .seed = static_cast<std::uint64_t>(config.run.seed),
                                .vocab_size = config.model.vocab_size,
                                .val = {},
                                .val_documents = config.data.val_documents};
  if (!config.data.val.empty()) options.val = config::locate(config.data.val);
  data.dataset = std::make_unique<input::Dataset>(options, *data.tokenizer);
  const input::WindowOptions window{.seq_len = config.data.seq_len,
                                    .document_mask = config.data.document_mask};
  data.train = std::make_unique<input::Loader>(
      data.dataset->train(),
      input::LoaderOptions{.window = window,
                           .global_batch = config.train.batch_size,
                           .seed = static_cast<std::uint64_t>(config.run.seed)});
  if (data.dataset->validation().size > 0) {
    data.validation.emplace(data.dataset->validation(), window);
  }
  return data;
}

}  // namespace strait::train
