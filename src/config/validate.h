#pragma once

#include "config/config.h"
#include "config/origins.h"

namespace strait::config {

/// Checks every rule that the config alone decides: ranges, required keys, shapes, keys that
/// another key makes meaningless. Values that mean "derive it" (0, empty) may still be there. The
/// model is not looked at while init.from is set and no model key is: import it first, then
/// validate. Throws InputError "origin: path = value: ..." for the first violation;
/// the origin is that of the value.
void validate(const Config& config, const Origins& origins);

}  // namespace strait::config
