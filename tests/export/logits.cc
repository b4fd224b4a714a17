#include <cstdio>
#include <exception>
#include <vector>

#include "io/safetensors.h"
#include "io/safetensors_writer.h"
#include "train/open_model.h"

// model_logits --run|--hf DIR IN OUT: logits [S, V] in float64 of the tokens "input_ids" [S] in the
// safetensors file IN, for comparison with other programs.
namespace {

using namespace strait;

void run(const train::ModelSource& source, const char* in, const char* out) {
  const auto ids = io::SafetensorsReader(in).read<std::int64_t>("input_ids");
  const std::vector<std::int32_t> tokens(ids.begin(), ids.end());
  const auto length = static_cast<std::int64_t>(tokens.size());
  const train::OpenModel model = train::open_model(source, length, Device::cpu);
  std::vector<double> logits = model.decoder->read(tokens, length);
  const Tensor all(logits.data(), DType::f64, {length, model.decoder->vocab_size()});
  io::write_safetensors(out, {io::host_source("logits", all)});
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) return 2;
  const bool hf = std::string(argv[1]) == "--hf";
  try {
    run({.run = hf ? "" : argv[2], .hf = hf ? argv[2] : ""}, argv[3], argv[4]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "model_logits: %s\n", error.what());
    return 1;
  }
  return 0;
}
