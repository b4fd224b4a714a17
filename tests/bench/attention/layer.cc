#include <array>
#include <memory>
#include <stdexcept>
#include <vector>

#include "config/words.h"
#include "kernels/memory.h"
#include "layers/attention/factory.h"
#include "tests/bench/attention/row.h"

namespace strait::bench {
namespace {

using kernels::Device;
using kernels::Stream;

constexpr std::int64_t kWidth = 2048;  // D

config::AttentionKind kind_of(const std::string& name) {
  const auto& words = config::Words<config::AttentionKind>::kList;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (words[i] == name) return static_cast<config::AttentionKind>(i);
  }
  throw std::runtime_error("no kind of attention is called " + name);
}

config::Model model_of(const Row& row) {
  config::Model model;
  model.vocab_size = 256;
  model.d_model = kWidth;
  model.n_layers = 24;
  model.attention.kind = kind_of(row.kind);
  model.attention.n_heads = row.heads;
  model.attention.n_kv_heads = row.groups;
  model.attention.head_dim = row.key_dim;
  model.attention.causal = row.causal;
  if (model.attention.kind == config::AttentionKind::mla) {
    const std::int64_t rope = row.key_dim - row.value_dim;
    model.attention.mla = {.q_rank = kWidth / 2,
                           .kv_rank = kWidth / 4,
                           .nope_dim = row.value_dim,
                           .rope_dim = rope,
                           .value_dim = row.value_dim};
  }
  return model;
}

/// The attention layer of training, with memory, weights and tokens of its own.
class Rig {
 public:
  /// Plans only, seen by an observer.
  explicit Rig(const Row& row, kernels::LaunchObserver* observer = nullptr)
      : model_(model_of(row)),
        table_({.weight = DType::bf16, .grad = DType::f32, .state = DType::f32}),
        shard_({.causal = row.causal}, row.documents, row.length),
        layer_(layers::make_attention({.model = model_, .mesh = mesh_, .table = table_}, "attn")) {
    ctx_.pass = layers::Pass::train;
    table_.allocate(Device::plan);
    shard_.bind(arenas_.inputs);
    ctx_.stream.observer = observer;
    ctx_.tokens = &shard_.blank();
    core::Arena planned("planned");
    for (Tensor* t : {&x_, &y_, &dy_, &dx_}) {
      *t = planned.take(DType::bf16, {row.tokens(), kWidth});
    }
    forward();
    backward();
  }

  void allocate(const Row& row, const Stream& stream) {
    ctx_.stream = stream;
    table_.allocate(stream.device);
    arenas_.allocate(stream.device);
    shard_.bind(arenas_.inputs);
    load_tokens(row);
    table_.initialise(1, stream);
    Pool& pool = empty_pool(stream);
    x_ = pool.normal(DType::bf16, {row.tokens(), kWidth});
    dy_ = pool.normal(DType::bf16, {row.tokens(), kWidth});
    y_ = pool.raw(DType::bf16, {row.tokens(), kWidth});
    dx_ = pool.raw(DType::bf16, {row.tokens(), kWidth});
  }

  void forward() {
    arenas_.saved.release(0);
    layer_->forward(ctx_, x_, y_);
  }
  void backward() {
    table_.begin_gradients();
    layer_->backward(ctx_, dy_, dx_);
  }

 private:
  void load_tokens(const Row& row) {
    const auto tokens = static_cast<std::size_t>(row.tokens());
    std::vector<std::int32_t> ids(tokens), places;
    for (std::int64_t t = 0; t < row.tokens(); ++t) {
      places.push_back(static_cast<std::int32_t>(t % row.length));
    }
    ctx_.tokens = &shard_.load(ids, ids, places, ctx_.stream);
  }

  config::Model model_;
  parallel::Mesh mesh_;
  parallel::Groups groups_;
  core::ParamTable table_;
  parallel::SequenceShard shard_;
  std::unique_ptr<layers::Layer> layer_;
  parallel::Arenas arenas_;
  layers::Ctx ctx_ = arenas_.ctx(groups_);
  Tensor x_, y_, dy_, dx_;  // [T, D]
};

}  // namespace

std::vector<kernels::Gemm> products_of_layer(const Row& row) {
  class Products : public kernels::LaunchObserver {
   public:
    void on_launch(const char*, const kernels::Work&) override {}
    void on_product(const kernels::Gemm& op) override { found.push_back(op); }
    std::vector<kernels::Gemm> found;
  } products;
  const Rig rig(row, &products);
  return products.found;
}

Times measure_layer(const Row& row, const Stream& stream) {
  Rig rig(row);
  rig.allocate(row, stream);
  rig.forward();
  rig.backward();
  Times times;
  if (row.only != "bwd") times.fwd_ms = median_ms(row, stream, [&] { rig.forward(); });
  if (row.only != "fwd") times.bwd_ms = median_ms(row, stream, [&] { rig.backward(); });
  return times;
}

}  // namespace strait::bench
