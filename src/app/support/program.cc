#include "app/support/program.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <new>

#include "config/nearest.h"
#include "core/error.h"
#include "core/exit_code.h"
#include "core/files.h"
#include "parallel/communicator.h"

namespace strait::app {
namespace {

/// Writes the message of `error` and returns its exit code.
int report(const std::string& program, const std::exception_ptr& error) {
  std::string message;
  try {
    std::rethrow_exception(error);
  } catch (const std::bad_alloc& full) {
    message =
        std::string("out of memory (") + full.what() +
        "); use a smaller model, shorter texts or more memory: train --dry-run shows the plan";
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

/// "usage: ..." with a line for each option, and the exit codes.
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
  return text +
         "exit codes: 0 well; 1 a check failed; 2 bad input or config; 3 a fault at run time\n";
}

}  // namespace

bool parse_arguments(int argc, char** argv, const std::string& synopsis,
                     std::vector<Option> options, bool speaks) {
  bool help = false;
  options.push_back(flag("--help", "this text", help));
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
  if (help && speaks) print(usage(synopsis, options));
  return !help;
}

void print(const std::string& text) {
  const bool taken = std::fwrite(text.data(), 1, text.size(), stdout) == text.size();
  if (taken && std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return;
  core::fail_to("write", "standard output", errno == 0 ? EIO : errno);
}

std::vector<Option> source_options(config::Source& source) {
  return {text("--config", "NAME", "config file, or its name in configs/", source.name),
          texts("--set", "KEY=VALUE", "override a key, e.g. --set optim.lr=1e-3; may be repeated",
                source.overrides)};
}

double number(const std::string& name, const std::string& value, double low, double high) {
  char* end = nullptr;
  const double parsed = std::strtod(value.c_str(), &end);
  const bool all = !value.empty() && end == value.c_str() + value.size();
  if (all && parsed >= low && parsed <= high) return parsed;
  char range[96];
  std::snprintf(range, sizeof range, high == kNoLimit ? "of at least %g" : "from %g to %g", low,
                high);
  throw core::InputError(name + " " + value + ": expected a number " + range);
}

std::int64_t count(const std::string& name, const std::string& value, std::int64_t low,
                   std::int64_t high) {
  std::int64_t parsed = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), parsed);
  const bool all = error == std::errc() && end == value.data() + value.size();
  if (all && parsed >= low && parsed <= high) return parsed;
  const bool open = high == kMostCounts;
  throw core::InputError(name + " " + value + ": expected a whole number " +
                         (open ? "of at least " + std::to_string(low)
                               : "from " + std::to_string(low) + " to " + std::to_string(high)));
}

Option flag(std::string name, std::string help, bool& into) {
  return {.name = std::move(name), .help = std::move(help), .take = [&into](const std::string&) {
            into = true;
          }};
}

Option texts(std::string name, std::string value, std::string help,
             std::vector<std::string>& into) {
  return {.name = std::move(name),
          .value = std::move(value),
          .help = std::move(help),
          .take = [&into](const std::string& given) { into.push_back(given); }};
}

Option number(const std::string& name, std::string value, std::string help, double& into,
              double low, double high) {
  return {.name = name,
          .value = std::move(value),
          .help = std::move(help),
          .take = [=, &into](const std::string& given) { into = number(name, given, low, high); }};
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
