#include "tests/train/program.h"

#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <fstream>
#include <sstream>

#include "io/checkpoint_folder.h"
#include "io/json_lines.h"
#include "io/manifest.h"
#include "io/safetensors.h"

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

Outcome run_ranks(const std::string& program, const std::string& arguments, int ranks) {
  std::string command = in_source_tree();
  if (ranks > 0) {
    command += std::string(STRAIT_MPIEXEC) + " --oversubscribe --bind-to none -n " +
               std::to_string(ranks) + " ";
  }
  return run_shell(command + STRAIT_BINARY_DIR + "/" + program + " " + arguments);
}

Outcome run_train(const std::string& arguments, int ranks) {
  return run_ranks("bin/train", arguments, ranks);
}

Outcome run_train_until(const std::string& arguments, const std::string& signal,
                        const fs::path& file) {
  return run_shell(std::string("cd ") + STRAIT_SOURCE_DIR + " && export " + kEnvironment + "; " +
                   STRAIT_BINARY_DIR + "/bin/train " + arguments +
                   " & pid=$!; for i in $(seq 600); do [ -s " + file.string() +
                   " ] && break; sleep 0.1; done; kill -" + signal + " $pid; wait $pid");
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

std::map<std::string, std::vector<std::byte>> checkpoint_tensors(const std::filesystem::path& run,
                                                                 std::int64_t step) {
  const auto folder = run / "checkpoints" / io::step_folder_name(step);
  std::map<std::string, std::vector<std::byte>> tensors;
  for (const auto& [name, stored] : io::read_manifest(folder).tensors) {
    const io::Piece whole = io::whole_piece(stored.shape);
    const std::size_t size = io::safetensors_dtype_size(stored.dtype);
    auto& bytes = tensors[name];
    bytes.resize(static_cast<std::size_t>(whole.elements()) * size);
    for (const io::StoredPiece& piece : stored.pieces) {
      const io::SafetensorsReader file(folder / piece.file);
      io::copy_common(piece.piece, file.bytes(piece.key), whole, bytes, size);
    }
  }
  return tensors;
}

}  // namespace strait::test
