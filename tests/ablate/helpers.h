#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "ablate/read_sweep.h"
#include "config/load.h"
#include "core/error.h"
#include "tests/support/message_of.h"
#include "tests/support/temp_folder.h"

namespace strait::test {

/// The message of the InputError that `body` throws; empty: it throws none.
template <class Body>
std::string refusal(Body&& body) {
  return message_of<core::InputError>(body);
}

/// A base of a few thousand parameters, in place.
inline constexpr const char* kBase = R"({
  "model": {"d_model": 32, "n_layers": 2, "tie_embeddings": true,
            "attention": {"n_heads": 4, "head_dim": 8}, "ffn": {"d_ff": 64}},
  "data": {"train": "data/sample.txt", "seq_len": 32},
  "train": {"steps": 1, "batch_size": 4},
  "run": {"device": "cpu"}, "eval": {"sequences": 4}})";

/// A sweep on kBase with further members: "\"seeds\": 2, ...".
inline std::string sweep_text(const std::string& members) {
  return std::string("{\"base\": ") + kBase + ", " + members + "}";
}

inline ablate::Sweep sweep_of(const std::string& members, const std::string& size = {}) {
  return ablate::read_sweep(sweep_text(members), "sweep.json", size);
}

/// An empty folder of this test.
inline std::filesystem::path scratch() {
  const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
  const std::filesystem::path path = std::filesystem::path(STRAIT_BINARY_DIR) / "tests" /
                                     "scratch" / "ablate" /
                                     (std::string(info->test_suite_name()) + "." + info->name());
  std::filesystem::remove_all(path);
  std::filesystem::create_directories(path);
  return path;
}

}  // namespace strait::test
