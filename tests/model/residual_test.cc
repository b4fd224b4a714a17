#include "tests/model/model_run.h"

namespace strait::test {
namespace {

// Of 64 tokens and 16 channels a tensor fills whole units of alignment.
const Documents kDocuments = {{40, 24}};

/// Bytes of activations that a planned step in bf16 keeps.
std::size_t planned_activations(config::Model model, config::ResidualStream residual,
                                config::Recompute recompute) {
  model.d_model = 16;
  config::Config config = small_config(model, kDocuments, {.compute = config::Compute::bf16});
  config.train.recompute = recompute;
  config.precision.residual = residual;
  parallel::Mesh mesh;
  parallel::Groups groups;
  train::Engine engine(config, mesh, groups);
  train::plan_step(engine);
  return engine.ctx().saved.peak();
}

config::Model two_layers(config::Model model) {
  model.n_layers = 2;
  return model;
}

/// The plan checks every launch; two bytes more an element of: the embedded tokens, the stream
/// after each half of each of two blocks, the last of them being the final norm's input.
TEST(ResidualStream, IsKeptInFloatBesideBf16) {
  using config::ResidualStream;
  const std::size_t extra = 5 * 64 * 16 * 2;
  // Scaled sums are a block's own: the same five tensors.
  for (const config::Model& model :
       {with_heads(config::AttentionKind::gqa, 2, 1, 4), two_layers(small_zaya())}) {
    EXPECT_EQ(planned_activations(model, ResidualStream::f32, config::Recompute::none),
              planned_activations(model, ResidualStream::compute, config::Recompute::none) + extra);
    for (const config::Recompute recompute : {config::Recompute::ffn, config::Recompute::block}) {
      EXPECT_GT(planned_activations(model, ResidualStream::f32, recompute),
                planned_activations(model, ResidualStream::compute, recompute));
    }
  }
}

}  // namespace
}  // namespace strait::test
