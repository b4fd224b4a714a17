#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "config/load.h"

// What the mains share: arguments, errors to exit codes.
namespace strait::app {

/// One option of a program.
struct Option {
  std::string name;             // "--config"
  std::string value = "";       // placeholder; empty: a flag
  bool value_optional = false;  // "--resume [DIR]"
  std::string help = "";
  std::function<void(const std::string&)> take = {};  // called with the value ("" for a flag)
};

/// Reads argv by `options`; each may be given several times. Throws InputError naming the argument
/// and the nearest known option.
void parse_arguments(int argc, char** argv, const std::vector<Option>& options);

/// "usage: ..." with a line for each option.
std::string usage(const std::string& synopsis, const std::vector<Option>& options);

/// --config and --set, which every program takes.
std::vector<Option> source_options(config::Source& source);

/// The value of an option that takes a number of at least `low`, or a whole one. Throw InputError.
double number(const std::string& name, const std::string& value, double low);
std::int64_t count(const std::string& name, const std::string& value, std::int64_t low);

/// Runs `body` and turns what it throws into a message on stderr and an exit code. After the
/// message of a fault (not of bad input) calls `on_fault`, if given, with the code.
int guarded(const std::string& program, const std::function<void()>& body,
            const std::function<void(int)>& on_fault = {});

}  // namespace strait::app
