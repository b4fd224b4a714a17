#pragma once

#include <string>
#include <vector>

#include "ablate/sweep.h"
#include "config/resolve.h"

namespace strait::ablate {

/// A variant as a whole config: base, then its own keys, then what the command line sets. Checked,
/// with model.vocab_size filled in; files and ranks are for `train` to look at.
struct Variant {
  VariantSpec spec;
  config::Config config;
};

struct ExpandOptions {
  std::vector<std::string> overrides = {};  // --set a.b=c, over all variants
  config::VocabOf vocab_of = {};            // asked where model.vocab_size is left out
};

/// The variants in order, grids multiplied out. Throws InputError that names the sweep's file, the
/// variant and the key.
std::vector<Variant> expand(const Sweep& sweep, const ExpandOptions& options);

/// The config with keys set over its own, checked. `origins` of its own ones; those that are set go
/// by the file of it. Throws InputError "origin: ...".
config::Config with_keys(config::Config config, const std::vector<Assignment>& set,
                         const config::Origins& origins);

/// A config's value at a path; a path that is no key is an InputError with the nearest one.
JsonTree value_at(const config::Config& config, const std::string& path, const std::string& origin);

}  // namespace strait::ablate
