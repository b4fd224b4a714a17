#pragma once

#include <vector>

#include "config/config.h"
#include "io/safetensors.h"

namespace strait::golden {

/// What the metadata of a layer file says.
struct LayerConfig {
  config::Model model;                  // one layer, kind cca or ccgqa
  std::vector<std::int32_t> documents;  // lengths; they fill every sequence
};

/// Reads and checks `config` and `doc_lens` for sequences of `seq_len` tokens. Throws InputError on
/// a key that is unknown or out of range.
LayerConfig read_layer_config(const io::SafetensorsReader& file, std::int64_t seq_len);

}  // namespace strait::golden
