#pragma once

#include "ablate/sweep.h"
#include "config/config.h"

namespace strait::ablate {

/// What a variant costs, by model/counts.h.
struct Counts {
  double total_parameters = 0;
  double active_parameters = 0;         // that a token uses, embedding and head included
  double non_embedding_parameters = 0;  // without embedding and head
  double attention_parameters = 0;
  double train_flops_per_token = 0;  // 3 x forward, documents of data.seq_len tokens
  double kv_bytes_per_token = 0;     // over all layers, in the format of precision.compute
  double kv_channels_per_token_layer = 0;

  double of(Quantity quantity) const;
};

/// Of a valid config with model.vocab_size; heads that are left open are derived.
Counts count(const config::Config& config);

/// "total_parameters": 43210000, ...: as files hold them.
JsonTree to_tree(const Counts& counts);

}  // namespace strait::ablate
