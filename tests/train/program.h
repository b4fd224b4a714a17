#pragma once

#include <filesystem>
#include <string>
#include <vector>

// Runs the built programs as a user would.
namespace strait::test {

struct Outcome {
  int code = -1;
  std::string output;  // stdout and stderr together
};

/// Runs `train` with `arguments` (shell words) on `ranks` ranks through mpirun; 0: without mpirun.
Outcome run_train(const std::string& arguments, int ranks = 0);

/// Runs another program, such as `plan`, by itself.
Outcome run_program(const std::string& program, const std::string& arguments);

/// A folder of its own under the build tree, empty, for one test.
std::filesystem::path fresh_folder(const std::string& name);

/// Writes `text` to `path`, making its folder.
void write_text(const std::filesystem::path& path, const std::string& text);
std::string read_text(const std::filesystem::path& path);

/// A metrics series of a run.
std::vector<double> series(const std::filesystem::path& run, const std::string& key);

}  // namespace strait::test
