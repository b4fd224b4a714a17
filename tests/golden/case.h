#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "config/config.h"
#include "core/tensor.h"
#include "io/safetensors.h"
#include "tests/golden/comparison.h"

// A golden case: inputs and results that other code computed, and how far ours are from them.
namespace strait::golden {

enum class CaseKind { model, layer };

/// What computes a case.
struct Backend {
  Device device = Device::cpu;
  config::Compute compute = config::Compute::f64;
};

struct Result {
  std::optional<double> loss;  // |difference| in nats; layers have none
  Worst outputs;               // logits and token losses; q, k, v, y of a layer
  Worst gradients;             // every parameter; dx of a layer
};

/// The reference of a model's folder that a backend is judged by: in bf16 a mixture's
/// reference_decided.safetensors, where no choice of an expert is close (README.md).
std::filesystem::path reference_of(const std::filesystem::path& folder, const Backend& backend);

/// A folder in Hugging Face layout with config.json, model.safetensors and reference.safetensors:
/// the whole model, one micro-batch, each sequence one document. All functions here throw
/// InputError for a case that cannot be run.
Result run_model_case(const std::filesystem::path& folder, const Backend& backend);

/// One CCA layer, forward and backward; its config and documents are in the file's metadata.
Result run_layer_case(const std::filesystem::path& file, const Backend& backend);

/// A float tensor of a case; shape and finiteness are checked.
std::vector<double> read_floats(const io::SafetensorsReader& file, const std::string& name,
                                const std::vector<std::int64_t>& shape);

/// Values of a tensor on the device, row-major; bf16, f32 or f64, strided except in its last dim.
std::vector<double> download(const ConstTensor& tensor, const Stream& stream);
/// Rounds values to the tensor's dtype (bf16, f32 or f64) and copies them to it.
void upload(std::span<const double> values, const Tensor& tensor, const Stream& stream);

}  // namespace strait::golden
