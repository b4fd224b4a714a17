#pragma once

#include <cstdint>
#include <functional>
#include <limits>
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

/// Reads argv by `options`, each of which may be given several times, and by --help. Returns
/// whether to go on: not after --help, which prints, if `speaks`, "usage: `synopsis`", a line for
/// each option and the exit codes. Throws InputError naming the argument and the nearest known
/// option.
bool parse_arguments(int argc, char** argv, const std::string& synopsis,
                     std::vector<Option> options, bool speaks = true);

/// Writes to standard output. Throws RuntimeFault when it does not take all of it, or did not
/// before.
void print(const std::string& text);

/// --config and --set.
std::vector<Option> source_options(config::Source& source);

constexpr double kNoLimit = std::numeric_limits<double>::infinity();
constexpr std::int64_t kMostCounts = std::numeric_limits<std::int64_t>::max();

/// The value of an option that takes a number from `low` to `high`, or a whole one. Throw
/// InputError.
double number(const std::string& name, const std::string& value, double low,
              double high = kNoLimit);
std::int64_t count(const std::string& name, const std::string& value, std::int64_t low,
                   std::int64_t high = kMostCounts);

/// Options that store what they are given: that they are there, a text, all texts, a number, a
/// whole one. `into` must outlive them.
Option flag(std::string name, std::string help, bool& into);

template <class Text>
Option text(std::string name, std::string value, std::string help, Text& into) {
  return {std::move(name), std::move(value), false, std::move(help),
          [&into](const std::string& given) { into = given; }};
}

Option texts(std::string name, std::string value, std::string help, std::vector<std::string>& into);

Option number(const std::string& name, std::string value, std::string help, double& into,
              double low, double high = kNoLimit);

template <class Whole>
Option count(const std::string& name, std::string value, std::string help, Whole& into,
             std::int64_t low, std::int64_t high = kMostCounts) {
  return {name, std::move(value), false, std::move(help), [=, &into](const std::string& given) {
            into = static_cast<Whole>(count(name, given, low, high));
          }};
}

/// Runs `body` and turns what it throws into a message on stderr and an exit code. After the
/// message of what this rank alone knows of calls `alone`, if given, with the code.
int guarded(const std::string& program, const std::function<void()>& body,
            const std::function<void(int)>& alone = {});

}  // namespace strait::app
