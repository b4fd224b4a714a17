#include <gtest/gtest.h>

#include <map>

#include "ablate/cell.h"
#include "config/resolve.h"
#include "core/param_table.h"
#include "kernels/memory.h"
#include "model/transformer.h"
#include "tests/ablate/helpers.h"

namespace strait::test {
namespace {

using namespace ablate;

using Values = std::map<std::string, std::vector<double>>;  // by name and shape

/// The initial values of a cell's parameters.
Values initial_values(const config::Config& config) {
  config::Model model = config.model;
  model.attention.n_kv_heads = config::kv_heads(model.attention);
  model.attention.head_dim = config::head_dim(model);
  const parallel::Mesh mesh;
  core::ParamTable table(DType::f64);
  const model::Transformer transformer({.model = model, .mesh = mesh, .table = table},
                                       config::Recompute::none);
  table.allocate(Device::cpu);
  table.initialise(static_cast<std::uint64_t>(config.run.seed), {});
  Values values;
  for (const core::Part& part : table.parts()) {
    std::string key = part.name;
    std::int64_t n = 1;
    for (const std::int64_t size : part.global_shape) {
      key.append(",").append(std::to_string(size));
      n *= size;
    }
    const Tensor view = part.view(part.param->master);
    std::vector<double>& own = values[key];
    const std::int64_t row = view.shape[view.rank - 1];
    const std::int64_t rows = n / row;
    const std::int64_t stride = view.rank > 1 ? view.stride[view.rank - 2] : row;
    for (std::int64_t i = 0; view.rank <= 2 && i < rows; ++i) {
      const double* from = view.as<double>() + i * stride;
      own.insert(own.end(), from, from + row);
    }
  }
  return values;
}

// Runs of one seed start from the same values wherever two variants have a parameter of the same
// name and shape, and another seed from others.
TEST(Paired, SharedPartsStartFromTheSameValues) {
  const Sweep sweep = sweep_of(
      R"("variants": {"mha": {"set": {"model.attention.kind": "mha"}},
           "gqa": {"set": {"model.attention.kind": "gqa", "model.attention.n_kv_heads": 2}},
           "ccgqa": {"set": {"model.attention.kind": "ccgqa", "model.attention.n_kv_heads": 2}}},
         "seeds": 2, "budget": {"tokens": 1000})");
  const auto cells = main_cells(sweep, match(sweep, expand(sweep, {})), {});
  std::vector<Values> values;
  for (const Cell& cell : cells) values.push_back(initial_values(cell.config));
  for (std::size_t a = 0; a < 3; ++a) {
    std::size_t shared = 0;
    for (const auto& [key, own] : values[a]) {
      const auto other = values[(a + 1) % 3].find(key);
      if (other == values[(a + 1) % 3].end()) continue;
      EXPECT_EQ(other->second, own) << key;
      ++shared;
    }
    EXPECT_GE(shared, 10u) << "embedding, norms, feed-forward, some of attention";
    EXPECT_NE(values[a + 3], values[a]) << "of another seed";
  }
}

}  // namespace
}  // namespace strait::test
