#include "tests/train/program.h"

#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <fstream>
#include <sstream>

#include "io/json_lines.h"

namespace strait::test {
namespace {

namespace fs = std::filesystem;

constexpr const char* kEnvironment =
    "OMP_NUM_THREADS=1 OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 "
    "OMPI_MCA_btl_vader_single_copy_mechanism=none ";

Outcome run_shell(const std::string& command) {
  Outcome outcome;
  std::FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
  if (!pipe) return outcome;
  std::array<char, 4096> buffer{};
  while (const std::size_t n = std::fread(buffer.data(), 1, buffer.size(), pipe)) {
    outcome.output.append(buffer.data(), n);
  }
  const int status = ::pclose(pipe);
  if (WIFEXITED(status)) outcome.code = WEXITSTATUS(status);
  return outcome;
}

std::string in_source_tree() {
  return std::string("cd ") + STRAIT_SOURCE_DIR + " && " + kEnvironment;
}

}  // namespace

Outcome run_program(const std::string& program, const std::string& arguments) {
  return run_shell(in_source_tree() + STRAIT_BINARY_DIR + "/bin/" + program + " " + arguments);
}

Outcome run_train(const std::string& arguments, int ranks) {
  std::string command = in_source_tree();
  if (ranks > 0) {
    command += std::string(STRAIT_MPIEXEC) + " --oversubscribe --bind-to none -n " +
               std::to_string(ranks) + " ";
  }
  return run_shell(command + STRAIT_BINARY_DIR + "/bin/train " + arguments);
}

fs::path fresh_folder(const std::string& name) {
  const fs::path path = fs::path(STRAIT_BINARY_DIR) / "tests" / "scratch" / name;
  fs::remove_all(path);
  fs::create_directories(path);
  return path;
}

void write_text(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

std::string read_text(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

std::vector<double> series(const fs::path& run, const std::string& key) {
  return io::read_series(run / "metrics.jsonl", key);
}

}  // namespace strait::test
