#pragma once

#include "config/load.h"

namespace strait::train {

/// The resolved config of a program: config::load plus what lies outside of the config folder (the
/// model of init.from, the tokenizer's vocabulary). `cuda`: what needs a GPU is accepted. Throws
/// InputError.
config::Config load_config(const config::Source& source, std::int64_t ranks, bool cuda);

/// Whether this build can use a GPU of this machine.
bool finds_gpu();

}  // namespace strait::train
