#include "train/data.h"

#include "core/error.h"

namespace strait::train {

Data open_data(const config::Config& config) {
  Data data;
  data.tokenizer = input::make_tokenizer(config.data.tokenizer);
  const auto seed = static_cast<std::uint64_t>(config.run.seed);
  data.dataset =
      std::make_unique<input::Dataset>(config.data, *data.tokenizer, seed, config.model.vocab_size);
  const input::PackingOptions packing{.seq_len = config.data.seq_len,
                                      .document_mask = config.data.document_mask,
                                      .kind = config.data.packing};
  data.train = std::make_unique<input::Loader>(
      data.dataset->train(),
      input::LoaderOptions{
          .packing = packing, .global_batch = config.train.batch_size, .seed = seed});
  for (const input::NamedTokens& set : data.dataset->validation()) {
    data.validation.emplace_back(set, packing);
  }
  if (config.eval.probe_every > 0 && data.validation.empty()) {
    throw core::InputError("eval.probe_every = " + std::to_string(config.eval.probe_every) +
                           ": there are no validation tokens to look at; set data.val or "
                           "data.val_documents, or leave it out");
  }
  data.tasks = open_choice_tasks(config, *data.tokenizer);
  return data;
}

}  // namespace strait::train
