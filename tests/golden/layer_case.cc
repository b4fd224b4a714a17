#include <algorithm>
#include <map>

#include "core/error.h"
#include "io/json_text.h"
#include "layers/attention/cca.h"
#include "tests/golden/case.h"
#include "tests/golden/layer_config.h"
#include "tests/layers/harness.h"
#include "train/engine.h"

namespace strait::golden {
namespace {

// The reference was computed in float64: what is below is a zero with rounding noise.
constexpr double kResolution = 1e-13;

const std::map<std::string, std::string> kStoredName = {
    {"attn.proj.weight", "proj.weight"}, {"attn.conv0.weight", "w0"}, {"attn.conv0.bias", "b0"},
    {"attn.conv1.weight", "w1"},         {"attn.conv1.bias", "b1"},   {"attn.temp", "temp"},
    {"attn.o.weight", "o.weight"}};

using Values = std::map<std::string, std::vector<double>>;
/// Stored tensors: the weights (with gradients), inputs and results.
using Shapes = std::map<std::string, std::vector<std::int64_t>>;

Shapes expected_shapes(const core::ParamTable& table, const config::Attention& attention,
                       const std::vector<std::int64_t>& x) {
  const auto heads = [&](std::int64_t n) {
    return std::vector<std::int64_t>{x[0], x[1], n, attention.head_dim};
  };
  Shapes shapes{{"x", x},
                {"dx", x},
                {"y", x},
                {"dy", x},
                {"q", heads(attention.n_heads)},
                {"k", heads(attention.n_kv_heads)},
                {"v", heads(attention.n_kv_heads)}};
  for (const core::Param& param : table.params()) {
    const std::string& name = kStoredName.at(param.spec.name);
    shapes[name] = shapes["grad." + name] = param.spec.shape;
  }
  return shapes;
}

Values read_all(const io::SafetensorsReader& file, const Shapes& shapes) {
  for (const std::string& name : file.names()) {
    if (!shapes.contains(name)) {
      throw core::InputError(file.origin() + ": has the tensor " + io::printable(name) +
                             ", for which the layer has no place");
    }
  }
  Values values;
  for (const auto& [name, shape] : shapes) values[name] = read_floats(file, name, shape);
  return values;
}

/// One forward and backward; returns the results. In the plan it only measures memory.
Values run_layer(test::Harness& harness, layers::CcaAttention& layer, const Values& values,
                 std::int64_t width) {
  layers::Ctx& ctx = harness.ctx();
  const core::Frame frame(ctx.saved);
  const auto take = [&] {
    return ctx.saved.take(harness.table().dtype(), {harness.tokens(), width});
  };
  const Tensor x = take(), y = take(), dy = take(), dx = take();
  upload(values.at("x"), x, ctx.stream);
  upload(values.at("dy"), dy, ctx.stream);
  layer.forward(ctx, x, y);
  layer.backward(ctx, dy, dx);
  const layers::AttentionCore::Saved& core = layer.core().saved();
  return {{"q", download(core.q, ctx.stream)},
          {"k", download(core.k, ctx.stream)},
          {"v", download(core.v, ctx.stream)},
          {"y", download(y, ctx.stream)},
          {"dx", download(dx, ctx.stream)}};
}

}  // namespace

Result run_layer_case(const std::filesystem::path& path, const Backend& backend) {
  const io::SafetensorsReader file(path);
  const std::vector<std::int64_t> x = file.info("x").shape;
  if (x.size() != 3 || std::ranges::min(x) < 1) {
    throw core::InputError(file.origin() + ": x is " + io::describe(x) + ", expected [B, S, D]");
  }
  const LayerConfig config = read_layer_config(file, x[1]);
  const test::Documents documents(static_cast<std::size_t>(x[0]), config.documents);
  test::Harness harness(config.model, documents, train::compute_dtype(backend.compute));
  layers::CcaAttention layer(harness.build(), "attn");
  const core::ParamTable& table = harness.table();
  const Values want = read_all(file, expected_shapes(table, config.model.attention, x));
  harness.allocate([&] { run_layer(harness, layer, want, x[2]); }, backend.device);
  const Stream& stream = harness.ctx().stream;
  for (const core::Param& param : table.params()) {
    upload(want.at(kStoredName.at(param.spec.name)), param.weight, stream);
  }
  Values got = run_layer(harness, layer, want, x[2]);

  Comparison outputs(kResolution), gradients(kResolution);
  for (const char* name : {"q", "k", "v", "y"}) outputs.add(name, got[name], want.at(name));
  gradients.add("dx", got["dx"], want.at("dx"));
  for (const core::Param& param : table.params()) {
    const std::string& name = kStoredName.at(param.spec.name);
    gradients.add(name, download(param.grad, stream), want.at("grad." + name));
  }
  return {.loss = {}, .outputs = outputs.worst(), .gradients = gradients.worst()};
}

}  // namespace strait::golden
