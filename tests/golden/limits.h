#pragma once

#include <filesystem>

#include "tests/golden/case.h"

namespace strait::golden {

/// The most a case may be off; README.md says where the numbers come from.
struct Limits {
  double loss = 0;       // nats
  double outputs = 0;    // relative L2
  double gradients = 0;  // relative L2
};

/// In f64 by kind. In f32 and bf16 twice what a naive evaluation of this very case loses, where
/// naive_f32.json or naive_bf16.json has that measured (same name and same reference, byte for
/// byte); else a fixed limit in f32, and an InputError in bf16. `path` is the folder or the layer
/// file.
Limits limits_of(const std::filesystem::path& path, CaseKind kind, const Backend& backend);

/// The case's name: the last part of its path, without ".safetensors".
std::string name_of(const std::filesystem::path& path);

}  // namespace strait::golden
