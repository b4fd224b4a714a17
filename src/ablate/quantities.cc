#include "ablate/quantities.h"

#include "config/resolve.h"
#include "model/counts.h"

namespace strait::ablate {
namespace {

double bytes_of(config::Compute compute) {
  switch (compute) {
    case config::Compute::f64:
      return 8;
    case config::Compute::f32:
      return 4;
    case config::Compute::bf16:
      break;
  }
  return 2;
}

/// The model with its heads as resolve() leaves them.
config::Model with_heads(config::Model model) {
  model.attention.n_kv_heads = config::kv_heads(model.attention);
  model.attention.head_dim = config::head_dim(model);
  return model;
}

}  // namespace

double Counts::of(Quantity quantity) const {
  switch (quantity) {
    case Quantity::total_parameters:
      return total_parameters;
    case Quantity::active_parameters:
      return active_parameters;
    case Quantity::non_embedding_parameters:
      return non_embedding_parameters;
    case Quantity::train_flops_per_token:
      return train_flops_per_token;
    case Quantity::kv_bytes_per_token:
      break;
  }
  return kv_bytes_per_token;
}

Counts count(const config::Config& config) {
  const config::Model model = with_heads(config.model);
  const model::ModelCounts all = model::count_model(model);
  const auto S = static_cast<double>(config.data.seq_len);
  const double cache = static_cast<double>(all.cache_per_token);
  Counts counts{.total_parameters = static_cast<double>(all.parameters()),
                .active_parameters = static_cast<double>(all.active()),
                .non_embedding_parameters = static_cast<double>(all.parameters()),
                .train_flops_per_token =
                    3 * all.forward_flops(1, model::document_pairs(model, config.data.seq_len) / S),
                .kv_bytes_per_token = cache * bytes_of(config.precision.compute),
                .kv_channels_per_token_layer = cache / static_cast<double>(model.n_layers)};
  for (const model::PartCount& part : all.parts) {
    const auto parameters = static_cast<double>(part.parameters);
    if (part.part == "embedding" || part.part == "head") {
      counts.non_embedding_parameters -= parameters;
    }
    if (part.part.starts_with("attention")) counts.attention_parameters += parameters;
  }
  return counts;
}

JsonTree to_tree(const Counts& counts) {
  JsonTree tree = JsonTree::object();
  tree.set("total_parameters", counts.total_parameters)
      .set("active_parameters", counts.active_parameters)
      .set("non_embedding_parameters", counts.non_embedding_parameters)
      .set("attention_parameters", counts.attention_parameters)
      .set("train_flops_per_token", counts.train_flops_per_token)
      .set("kv_bytes_per_token", counts.kv_bytes_per_token)
      .set("kv_channels_per_token_layer", counts.kv_channels_per_token_layer);
  return tree;
}

}  // namespace strait::ablate
