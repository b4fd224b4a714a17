#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdio>
#include <cstring>
#include <limits>
#include <map>

#include "io/safetensors.h"
#include "io/safetensors_writer.h"
#include "tests/golden/comparison.h"
#include "tests/support/temp_folder.h"

namespace strait::golden {
namespace {

namespace fs = std::filesystem;

const fs::path kCases = STRAIT_SOURCE_DIR "/tests/golden";

struct Outcome {
  int code = -1;
  std::string output;
};

Outcome golden_check(const std::string& arguments) {
  const std::string command = STRAIT_BINARY_DIR "/tests/golden_check " + arguments + " 2>&1";
  Outcome outcome;
  FILE* pipe = popen(command.c_str(), "r");
  char buffer[4096];
  while (const std::size_t n = std::fread(buffer, 1, sizeof buffer, pipe)) {
    outcome.output.append(buffer, n);
  }
  const int status = pclose(pipe);
  if (WIFEXITED(status)) outcome.code = WEXITSTATUS(status);
  return outcome;
}

/// The tensors of a safetensors file, to be changed and written back. F32, F64 and I64 only.
class Tensors {
 public:
  explicit Tensors(const fs::path& path) : path_(path) {
    const io::SafetensorsReader reader(path);
    metadata_ = reader.metadata();
    for (const std::string& name : reader.names()) {
      const auto bytes = reader.bytes(name);
      const std::string& dtype = reader.info(name).dtype;
      tensors_[name] = {dtype == "F64"   ? kernels::DType::f64
                        : dtype == "I64" ? kernels::DType::i64
                                         : kernels::DType::f32,
                        reader.info(name).shape,
                        {bytes.begin(), bytes.end()}};
    }
  }

  void erase(const std::string& name) { tensors_.erase(name); }
  void rename(const std::string& from, const std::string& to) {
    tensors_[to] = tensors_.at(from);
    tensors_.erase(from);
  }
  template <class T>
  void set(const std::string& name, std::size_t index, T value) {
    std::memcpy(tensors_.at(name).bytes.data() + index * sizeof(T), &value, sizeof(T));
  }
  template <class T>
  T get(const std::string& name, std::size_t index) const {
    T value;
    std::memcpy(&value, tensors_.at(name).bytes.data() + index * sizeof(T), sizeof(T));
    return value;
  }
  void say(const std::string& key, const std::string& value) { metadata_[key] = value; }

  void write() const {
    std::vector<io::TensorSource> sources;
    for (const auto& [name, tensor] : tensors_) {
      sources.push_back({name, io::safetensors_dtype(tensor.dtype), tensor.shape,
                         [&tensor = tensor] { return std::span<const std::byte>(tensor.bytes); }});
    }
    io::write_safetensors(path_, std::move(sources), metadata_);
  }

 private:
  struct Stored {
    kernels::DType dtype;
    std::vector<std::int64_t> shape;
    std::vector<std::byte> bytes;
  };
  fs::path path_;
  std::map<std::string, std::string> metadata_;
  std::map<std::string, Stored> tensors_;
};

/// Copies of cases that a test may damage.
class GoldenCheck : public testing::Test {
 protected:
  fs::path copy_of(const std::string& name) {
    const fs::path to = folder_ / fs::path(name).filename().string();
    fs::copy(kCases / name, to, fs::copy_options::recursive);
    return to;
  }
  /// Copies a model case and changes one of its files.
  template <class Change>
  fs::path model_with(const std::string& file, Change&& change) {
    const fs::path model = copy_of("llama_gqa");
    Tensors tensors(model / file);
    change(tensors);
    tensors.write();
    return model;
  }
  template <class Change>
  fs::path layer_with(Change&& change) {
    const fs::path layer = copy_of("cca_layers/ccgqa_packed.safetensors");
    Tensors tensors(layer);
    change(tensors);
    tensors.write();
    return layer;
  }
  void expect(int code, const std::string& text, const std::string& arguments) {
    const Outcome outcome = golden_check(arguments);
    EXPECT_EQ(outcome.code, code) << arguments << "\n" << outcome.output;
    EXPECT_NE(outcome.output.find(text), std::string::npos) << text << "\n" << outcome.output;
  }
  test::TempFolder folder_;
};

constexpr const char* kQuery = "model.layers.1.self_attn.q_proj.weight";

TEST_F(GoldenCheck, UntouchedCopiesPass) {
  const fs::path layer = layer_with([](Tensors&) {}), model = copy_of("llama_gqa");
  expect(0, "PASS  llama_gqa  f64  loss ", model.string() + "/ " + layer.string());
  expect(0, "PASS  ccgqa_packed  f64  loss -", model.string() + " " + layer.string());
}

TEST_F(GoldenCheck, AChangedWeightFailsAndNamesATensor) {
  const fs::path model = model_with("model.safetensors", [](Tensors& tensors) {
    tensors.set(kQuery, 5, tensors.get<float>(kQuery, 5) + 0.01f);
  });
  expect(1, "FAIL  llama_gqa", model.string());
  expect(1, "layers.1.", model.string());
  expect(0, "PASS", "--tol 0.5 " + model.string());
}

TEST_F(GoldenCheck, AChangedGradientOfTheReferenceFailsAndNamesIt) {
  const std::string name = std::string("grad.") + kQuery;
  const fs::path model = model_with("reference.safetensors", [&](Tensors& tensors) {
    tensors.set(name, 0, tensors.get<float>(name, 0) * 1.01f + 1e-4f);
  });
  expect(1, kQuery, model.string());
}

TEST_F(GoldenCheck, AChangedLossFails) {
  expect(1, "FAIL", model_with("reference.safetensors", [](Tensors& tensors) {
                      tensors.set("loss", 0, tensors.get<double>("loss", 0) + 1e-5);
                    }).string());
}

TEST_F(GoldenCheck, AWeightThatIsNoNumberFails) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  expect(1, "FAIL", model_with("model.safetensors", [&](Tensors& tensors) {
                      tensors.set(kQuery, 0, nan);
                    }).string());
}

TEST_F(GoldenCheck, AChangedLayerWeightFailsAndNamesATensor) {
  const fs::path layer = layer_with([](Tensors& tensors) { tensors.set("temp", 1, 0.9f); });
  expect(1, "FAIL  ccgqa_packed", layer.string());
  expect(1, " k ", layer.string());
}

TEST_F(GoldenCheck, FloatLimitsBelongToTheirReference) {
  const std::string fixed = "(limit 5.0e-06)";
  const fs::path layer = copy_of("cca_layers/ccgqa_packed.safetensors");
  const Outcome measured = golden_check("--dtype f32 " + layer.string());
  EXPECT_EQ(measured.code, 0) << measured.output;
  EXPECT_EQ(measured.output.find(fixed), std::string::npos) << measured.output;
  fs::remove(layer);
  const fs::path other = layer_with([](Tensors& tensors) { tensors.say("note", "another case"); });
  expect(0, fixed, "--dtype f32 " + other.string());
}

TEST_F(GoldenCheck, ZeroLimitFails) {
  expect(1, "FAIL", "--tol 1e-30 " + (kCases / "cca_layers/cca_h4.safetensors").string());
}

TEST_F(GoldenCheck, OneBadCaseDoesNotStopTheOthers) {
  const std::string good = (kCases / "cca_layers/cca_h4.safetensors").string();
  const Outcome outcome = golden_check("/nowhere/case " + good);
  EXPECT_EQ(outcome.code, 2);
  EXPECT_NE(outcome.output.find("CANNOT RUN  case  /nowhere/case: no such file or folder"),
            std::string::npos)
      << outcome.output;
  EXPECT_NE(outcome.output.find("PASS  cca_h4"), std::string::npos) << outcome.output;
}

TEST_F(GoldenCheck, DamagedModelCasesCannotRun) {
  const auto refused = [&](const std::string& why, const std::string& file, const auto& change) {
    const fs::path model = model_with(file, change);
    expect(2, why, model.string());
    fs::remove_all(model);
  };
  const std::string reference = "reference.safetensors";
  refused(std::string("has no tensor '") + kQuery, "model.safetensors",
          [](Tensors& t) { t.erase(kQuery); });
  refused("has no tensor 'logits'", reference, [](Tensors& t) { t.erase("logits"); });
  refused("has no tensor 'input_ids'", reference, [](Tensors& t) { t.erase("input_ids"); });
  refused("has no gradient of model.norm.weight", reference,
          [](Tensors& t) { t.erase("grad.model.norm.weight"); });
  refused("no parameter for 'grad.model.other.weight'", reference,
          [](Tensors& t) { t.rename("grad.model.norm.weight", "grad.model.other.weight"); });
  refused("not finite", reference,
          [](Tensors& t) { t.set("logits", 3, std::numeric_limits<float>::infinity()); });
  refused("input_ids holds 97", reference,
          [](Tensors& t) { t.set("input_ids", 3, std::int64_t{97}); });
}

TEST_F(GoldenCheck, FilesThatAreNoCasesCannotRun) {
  const fs::path model = copy_of("llama_gqa");
  fs::resize_file(model / "reference.safetensors", 1000);
  expect(2, "reference.safetensors", model.string());
  fs::remove(model / "reference.safetensors");
  expect(2, "reference.safetensors", model.string());
  test::write_text(model / "config.json", R"({"model_type": "mystery"})");
  expect(2, "mystery", model.string());
  fs::remove(model / "config.json");
  expect(2, "no config.json", model.string());
  test::write_text(folder_ / "text.safetensors", "no tensors at all");
  expect(2, "header length", (folder_ / "text.safetensors").string());
}

TEST_F(GoldenCheck, DamagedLayerCasesCannotRun) {
  const auto refused = [&](const std::string& why, const auto& change) {
    const fs::path layer = layer_with(change);
    expect(2, why, layer.string());
    fs::remove(layer);
  };
  refused("has no tensor 'w0'", [](Tensors& t) { t.erase("w0"); });
  refused("has no place", [](Tensors& t) { t.rename("w0", "w2"); });
  refused("unknown key 'd_mode'", [](Tensors& t) {
    t.say("config", R"({"d_model": 64,
      "n_heads": 4, "n_kv_heads": 2, "head_dim": 16, "d_mode": 1})");
  });
  refused("config.n_kv_heads", [](Tensors& t) {
    t.say("config", R"({"d_model": 64,
      "n_heads": 4, "n_kv_heads": 3, "head_dim": 16})");
  });
  refused("config.head_dim", [](Tensors& t) {
    t.say("config", R"({"d_model": 64,
      "n_heads": 4, "n_kv_heads": 2, "head_dim": "16"})");
  });
  refused("expected [3, 96]", [](Tensors& t) {
    t.say("config", R"({"d_model": 64,
      "n_heads": 4, "n_kv_heads": 2, "head_dim": 16, "k_seq": 3})");
  });
  refused("not valid JSON", [](Tensors& t) { t.say("config", "{"); });
  refused("adds up to 46", [](Tensors& t) { t.say("doc_lens", "[1, 7, 2, 25, 11]"); });
  refused("outside 1 to 47", [](Tensors& t) { t.say("doc_lens", "[0, 47]"); });
}

TEST_F(GoldenCheck, ArgumentsAreChecked) {
  const std::string good = (kCases / "llama_mha").string();
  expect(0, "usage: golden_check", "--help");
  expect(2, "no case given", "");
  expect(2, "--device cuda", "--device cuda " + good);
  expect(2, "--dtype bf16 needs --device cuda", "--dtype=bf16 " + good);
  expect(2, "--device tpu: expected cpu or cuda", "--device tpu " + good);
  expect(2, "--dtype f16: expected f64, f32 or bf16", "--dtype f16 " + good);
  expect(2, "--tol -1: expected a positive number", "--tol -1 " + good);
  expect(2, "--tol 1x: expected a positive number", "--tol 1x " + good);
  expect(2, "--toll: unknown option", "--toll 1 " + good);
  expect(2, "--tol: needs a value", good + " --tol");
}

TEST(Comparison, NamesTheWorstAndMeasuresZerosAgainstTheLargest) {
  Comparison comparison(1e-12);
  comparison.add("good", {3, 4}, {3, 4});
  comparison.add("zero", {1e-16, 0}, {0, 0});
  EXPECT_LE(comparison.worst().error, 1e-16);
  comparison.add("off", {0.3, 0.44}, {0.3, 0.4});
  EXPECT_NEAR(comparison.worst().error, 0.08, 1e-12);
  EXPECT_EQ(comparison.worst().name, "off");
  comparison.add("broken", {std::numeric_limits<double>::quiet_NaN()}, {1});
  EXPECT_EQ(comparison.worst().name, "broken");
  EXPECT_EQ(comparison.worst().error, std::numeric_limits<double>::infinity());
}

}  // namespace
}  // namespace strait::golden
