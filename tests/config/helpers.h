#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "config/load.h"
#include "config/schema.h"
#include "core/error.h"

namespace strait::config {

/// Writes a file below the build folder and returns its path.
inline std::string write_temporary(const std::string& name, const std::string& text) {
  const std::filesystem::path path =
      std::filesystem::path(STRAIT_BINARY_DIR) / "tests/config_files" / name;
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << text;
  return path.string();
}

/// A small valid config; its training text exists.
inline std::string valid_json() {
  return R"({"model": {"d_model": 64, "n_layers": 2,
                       "attention": {"kind": "gqa", "n_heads": 4, "n_kv_heads": 2},
                       "ffn": {"d_ff": 128}},
             "data": {"train": ")" +
         write_temporary("train.txt", "text\n") + R"("}, "train": {"steps": 10, "batch_size": 8}})";
}

/// The message of the InputError that `act` throws; empty and a failed test when it throws none.
template <class Act>
std::string message_of(Act act) {
  try {
    act();
  } catch (const core::InputError& error) {
    return error.what();
  }
  ADD_FAILURE() << "no InputError was thrown";
  return {};
}

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace strait::config
