#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

// Runs the built programs as a user would.
namespace strait::test {

/// Whether a sanitizer keeps memory beside the programs', so that resident bytes tell little.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kMemoryIsShadowed = true;
#else
constexpr bool kMemoryIsShadowed = false;
#endif

struct Outcome {
  int code = -1;
  std::string output;  // stdout and stderr together
};

/// Runs `train` with `arguments` (shell words) on `ranks` ranks through mpirun; 0: without mpirun.
Outcome run_train(const std::string& arguments, int ranks = 0);

/// Runs another program of the build tree on `ranks` ranks.
Outcome run_ranks(const std::string& program, const std::string& arguments, int ranks);

/// Runs `train` by itself and sends it `signal` ("TERM") as soon as there is something in `file`.
Outcome run_train_until(const std::string& arguments, const std::string& signal,
                        const std::filesystem::path& file);

/// Runs another program, such as `plan`, by itself.
Outcome run_program(const std::string& program, const std::string& arguments);

/// A folder of its own under the build tree, empty, for one test.
std::filesystem::path fresh_folder(const std::string& name);

/// Writes `text` to `path`, making its folder.
void write_text(const std::filesystem::path& path, const std::string& text);
std::string read_text(const std::filesystem::path& path);

/// Every tensor of a run's checkpoint after `step`, put together from its pieces: name to bytes.
std::map<std::string, std::vector<std::byte>> checkpoint_tensors(const std::filesystem::path& run,
                                                                 std::int64_t step);

/// A metrics series of a run.
std::vector<double> series(const std::filesystem::path& run, const std::string& key);

}  // namespace strait::test
