#include <algorithm>
#include <cmath>
#include <cstdio>
#include <exception>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/error.h"
#include "tests/golden/case.h"
#include "tests/golden/limits.h"
#include "train/engine.h"

// Runs golden cases and says how far each is from its reference; README.md describes both.
namespace strait::golden {
namespace {

namespace fs = std::filesystem;

constexpr const char* kUsage =
    "usage: golden_check [--tol T] [--device cpu|cuda] [--dtype f64|f32|bf16] PATH...\n"
    "  PATH      a folder with config.json, model.safetensors and reference.safetensors, or one\n"
    "            layer file with inputs, weights and results\n"
    "  --tol T   one limit for loss, outputs and gradients instead of the defaults\n"
    "  --device  cpu (default); cuda needs a build with CUDA\n"
    "  --dtype   f64 (default) or f32; bf16 needs a build with CUDA\n"
    "exit 0: every case within its limits; 1: one is over them; 2: one cannot be run\n";

struct Options {
  std::optional<double> tolerance;
  Backend backend;
  std::vector<fs::path> paths;
  bool help = false;
};

const std::map<std::string, config::Compute> kDtypes = {
    {"f64", config::Compute::f64}, {"f32", config::Compute::f32}, {"bf16", config::Compute::bf16}};

double parse_tolerance(const std::string& text) {
  std::size_t used = 0;
  double value = 0;
  try {
    value = std::stod(text, &used);
  } catch (const std::exception&) {
    used = 0;
  }
  const bool good = used > 0 && used == text.size() && value > 0 && std::isfinite(value);
  if (!good) throw core::InputError("--tol " + text + ": expected a positive number, as 1e-6");
  return value;
}

void set_option(Options& options, const std::string& name, const std::string& value) {
  const auto refuse = [&](const std::string& expected) {
    throw core::InputError(name + " " + value + ": expected " + expected);
  };
  if (name == "--tol") {
    options.tolerance = parse_tolerance(value);
  } else if (name == "--device") {
    if (value != "cpu" && value != "cuda") refuse("cpu or cuda");
    options.backend.device = value == "cuda" ? Device::cuda : Device::cpu;
  } else if (name == "--dtype") {
    const auto found = kDtypes.find(value);
    if (found == kDtypes.end()) refuse("f64, f32 or bf16");
    options.backend.compute = found->second;
  } else {
    throw core::InputError(name + ": unknown option; known are --tol, --device, --dtype, --help");
  }
}

void require_possible(const Backend& backend) {
  const bool cuda = backend.device == Device::cuda;
  if (cuda && !kernels::available(Device::cuda)) {
    throw core::InputError("--device cuda: this build has no CUDA, or the machine no GPU; use cpu");
  }
  if (cuda && backend.compute == config::Compute::f64) {
    throw core::InputError("--device cuda computes in f32 or bf16; add --dtype f32");
  }
  if (!cuda && backend.compute == config::Compute::bf16) {
    throw core::InputError("--dtype bf16 needs --device cuda; on the CPU use f64 or f32");
  }
}

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    std::string name = argv[i];
    if (name == "--help") {
      options.help = true;
    } else if (!name.starts_with("--")) {
      options.paths.emplace_back(name);
    } else if (const std::size_t equals = name.find('='); equals != name.npos) {
      set_option(options, name.substr(0, equals), name.substr(equals + 1));
    } else if (i + 1 == argc) {
      throw core::InputError(name + ": needs a value (see --help)");
    } else {
      set_option(options, name, argv[++i]);
    }
  }
  if (options.paths.empty() && !options.help) {
    throw core::InputError("no case given (see --help)");
  }
  require_possible(options.backend);
  return options;
}

CaseKind kind_of(const fs::path& path) {
  if (fs::is_directory(path)) {
    if (fs::exists(path / "config.json")) return CaseKind::model;
    throw core::InputError(path.string() +
                           ": this folder has no config.json; give a model's folder or one layer "
                           "file");
  }
  if (fs::is_regular_file(path)) return CaseKind::layer;
  throw core::InputError(path.string() + ": no such file or folder");
}

/// Runs one case and prints its line. Returns its exit code.
int check(const fs::path& path, const Options& options) {
  const CaseKind kind = kind_of(path);
  const Limits limits = options.tolerance
                            ? Limits{*options.tolerance, *options.tolerance, *options.tolerance}
                            : limits_of(path, kind, options.backend);
  const bool model = kind == CaseKind::model;
  const Result result =
      model ? run_model_case(path, options.backend) : run_layer_case(path, options.backend);

  const double loss = result.loss.value_or(0);
  const bool pass = loss <= limits.loss && result.outputs.error <= limits.outputs &&
                    result.gradients.error <= limits.gradients;
  char text[64] = "loss -";
  if (result.loss) std::snprintf(text, sizeof text, "loss %.2e (limit %.1e)", loss, limits.loss);
  std::printf("%s  %s  %s  %s  outputs %.2e (limit %.1e) %s  gradients %.2e (limit %.1e) %s\n",
              pass ? "PASS" : "FAIL", name_of(path).c_str(),
              kernels::name_of(train::compute_dtype(options.backend.compute)), text,
              result.outputs.error, limits.outputs, result.outputs.name.c_str(),
              result.gradients.error, limits.gradients, result.gradients.name.c_str());
  return pass ? core::kOk : core::kCheckFailed;
}

/// As check, with a line and exit code 2 for a case that cannot be run, whatever the reason.
int checked(const fs::path& path, const Options& options) {
  std::string why;
  try {
    return check(path, options);
  } catch (const std::bad_alloc&) {
    why = "out of memory";
  } catch (const std::exception& error) {
    why = error.what();
  }
  std::printf("CANNOT RUN  %s  %s\n", name_of(path).c_str(), why.c_str());
  return core::kBadInput;
}

int run(int argc, char** argv) {
  Options options;
  try {
    options = parse(argc, argv);
  } catch (const core::InputError& error) {
    std::fprintf(stderr, "golden_check: error: %s\n", error.what());
    return core::kBadInput;
  }
  if (options.help) std::fputs(kUsage, stdout);
  int code = core::kOk;
  for (const fs::path& path : options.paths) code = std::max(code, checked(path, options));
  return code;
}

}  // namespace
}  // namespace strait::golden

int main(int argc, char** argv) {
  return strait::golden::run(argc, argv);
}
