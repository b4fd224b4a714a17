#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "config/config.h"
#include "config/resolve.h"
#include "config/validate.h"

// The way of a config: file -> "extends" (one level) -> overrides -> parse -> validate -> resolve.
// Everything wrong with the input is an InputError that names the path of the key, the value, what
// was expected and the nearest valid key.
namespace strait::config {

/// What an option of a program other than --set says about the configuration.
struct Preset {
  std::string origin = {};                    // as messages name it: "--layout dp2tp4"
  std::vector<std::string> assignments = {};  // as those of --set
};

/// What a program's command line says about the configuration.
struct Source {
  std::string name = {};  // --config: a path, or a bare name looked up in configs/
  std::vector<std::string> overrides = {};  // --set a.b=c, in order; c is JSON, else a string
  Preset preset = {};                       // comes before the overrides
  bool stored = false;  // the file is that of a run, resolved for the ranks of its time
};

/// The three stages for programs that act in between: with init.from the caller fills
/// config.model from the checkpoint after read() and before validate() (declared in validate.h).
///
/// The origins, if given, learn which keys are not from the file.
///
///   Origins origins = origin_of(source);
///   Config config = read(source, &origins);
///   validate(config, origins);
///   config = resolve(config, {.ranks = ranks}, origins);
Config read(const Source& source, Origins* origins = nullptr);
Config read_text(const std::string& json, const std::string& origin,
                 const std::vector<std::string>& overrides, Origins* origins = nullptr);

/// The path of the file that `source` names, as messages say it. Throws InputError when there is
/// none: the name, where it was looked for, and the nearest config there is.
std::string origin_of(const Source& source);

/// The JSON file that `name` stands for: a path, or the name of one in the folder `first`, or in
/// `home` of the current folder or the source tree; ".json" may be left out. Throws InputError
/// "asker: no `what` .." when there is none.
std::filesystem::path find_json(const std::string& name, const std::filesystem::path& first,
                                const std::filesystem::path& home, const std::string& asker,
                                const std::string& what);

/// All three stages, for the built-in tokenizer and without CUDA. `ranks` is the number of MPI
/// ranks.
Config load(const Source& source, std::int64_t ranks);

/// The same from JSON text (`origin` names it in messages).
Config load_text(const std::string& json, const std::string& origin,
                 const std::vector<std::string>& overrides, std::int64_t ranks);

/// The config as JSON text, every key present in the order of the table;
/// load_text(to_json(c)) == c for a resolved c on as many ranks.
std::string to_json(const Config& config);

/// Every key with type, default, unit and meaning, for --help-config.
std::string help_text();

/// A path as given if it exists from the current folder, else under the source tree, else as given.
std::filesystem::path locate(const std::string& path);

}  // namespace strait::config
