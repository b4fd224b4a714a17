#include "app/support/program.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <new>

#include "config/nearest.h"
#include "core/error.h"
#include "core/exit_code.h"
#include "parallel/communicator.h"

namespace strait::app {
namespace {

/// Writes the message of `error` and returns its exit code.
int report(const std::string& program, const std::exception_ptr& error) {
  std::string message;
  try {
    std::rethrow_exception(error);
  } catch (const std::bad_alloc& full) {
    message = std::string("out of memory (") + full.what() + "); --dry-run shows the plan";
  } catch (const std::exception& known) {
    message = known.what();
  }
  std::fprintf(stderr, "%s: error: %s\n", program.c_str(), message.c_str());
  return core::exit_code_of(error);
}

bool is_option(const std::string& argument) {
  return argument.starts_with("--");
}

const Option& find_option(const std::string& name, const std::vector<Option>& options) {
  for (const Option& option : options) {
    if (option.name == name) return option;
  }
  std::vector<std::string_view> names;
  for (const Option& option : options) names.push_back(option.name);
  throw core::InputError(name + ": unknown argument; nearest is " +
                         std::string(config::nearest_word(name, names)) + " (see --help)");
}

}  // namespace

void parse_arguments(int argc, char** argv, const std::vector<Option>& options) {
  for (int i = 1; i < argc; ++i) {
    std::string name = argv[i];
    std::string value;
    const std::size_t equals = is_option(name) ? name.find('=') : std::string::npos;
    const bool attached = equals != std::string::npos;
    if (attached) {
      value = name.substr(equals + 1);
      name.resize(equals);
    }
    const Option& option = find_option(name, options);
    if (attached && option.value.empty()) {
      throw core::InputError(name + "=" + value + ": this option takes no value");
    }
    if (!attached && !option.value.empty()) {
      const bool follows = i + 1 < argc && !is_option(argv[i + 1]);
      if (!follows && !option.value_optional) {
        throw core::InputError(name + ": needs a value, " + name + " " + option.value);
      }
      if (follows) value = argv[++i];
    }
    option.take(value);
  }
}

std::string usage(const std::string& synopsis, const std::vector<Option>& options) {
  std::string text = "usage: " + synopsis + "\n";
  for (const Option& option : options) {
    std::string left = "  " + option.name;
    if (!option.value.empty()) {
      left += option.value_optional ? " [" + option.value + "]" : " " + option.value;
    }
    left.resize(std::max<std::size_t>(left.size() + 2, 24), ' ');
    text += left + option.help + "\n";
  }
  return text;
}

std::vector<Option> source_options(config::Source& source) {
  return {{.name = "--config",
           .value = "NAME",
           .help = "config file, or its name in configs/",
           .take = [&source](const std::string& value) { source.name = value; }},
          {.name = "--set",
           .value = "KEY=VALUE",
           .help = "override a key, e.g. --set optim.lr=1e-3; may be repeated",
           .take = [&source](const std::string& value) { source.overrides.push_back(value); }}};
}

double number(const std::string& name, const std::string& value, double low) {
  char* end = nullptr;
  const double parsed = std::strtod(value.c_str(), &end);
  const bool whole = !value.empty() && end == value.c_str() + value.size();
  if (whole && parsed >= low) return parsed;
  char text[64];
  std::snprintf(text, sizeof text, "%g", low);
  throw core::InputError(name + " " + value + ": expected a number of at least " + text);
}

std::int64_t count(const std::string& name, const std::string& value, std::int64_t low) {
  std::int64_t parsed = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), parsed);
  if (error == std::errc() && end == value.data() + value.size() && parsed >= low) return parsed;
  throw core::InputError(name + " " + value + ": expected a whole number of at least " +
                         std::to_string(low));
}

int guarded(const std::string& program, const std::function<void()>& body,
            const std::function<void(int)>& alone) {
  try {
    body();
    return core::kOk;
  } catch (const parallel::AgreedFailure& failure) {
    return failure.error ? report(program, failure.error) : failure.exit_code;
  } catch (...) {
    const int code = report(program, std::current_exception());
    if (alone) alone(code);
    return code;
  }
}

}  // namespace strait::app
