#pragma once

#include <memory>
#include <string>

#include "layers/layer.h"

namespace strait::layers {

/// The attention layer that model.attention.kind names. `name` prefixes its parameters.
std::unique_ptr<Layer> make_attention(const Build& build, const std::string& name);

}  // namespace strait::layers
