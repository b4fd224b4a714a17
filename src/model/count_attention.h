#pragma once

#include <string>
#include <vector>

#include "config/config.h"

// One attention layer of a resolved model, itemised by formula.
namespace strait::model {

enum class ItemRole { projection, convolution, vector };

/// A matrix of an attention layer, or its small vectors of one kind.
struct AttentionItem {
  std::string name;  // "q", "kv_a", "conv1", "biases"
  ItemRole role = ItemRole::projection;
  std::int64_t parameters = 0;
  /// Every weight multiplies once per token: 2 FLOPs. Vectors are not counted.
  bool multiplied() const { return role != ItemRole::vector; }
};

struct AttentionCount {
  std::vector<AttentionItem> items;
  std::int64_t core_width = 0;  // H (dk + dv): half the forward FLOPs of a (query, key) pair
  std::int64_t cache = 0;       // key/value cache elements per token

  std::int64_t parameters() const;
  std::int64_t parameters(ItemRole role) const;
  /// Weights that multiply a token, projections and convolutions.
  std::int64_t multiplied() const;
};

AttentionCount count_attention(const config::Model& model);

}  // namespace strait::model
