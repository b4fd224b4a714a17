#pragma once

#include <optional>
#include <string>
#include <vector>

#include "config/config.h"
#include "model/count_attention.h"

// Table II of the CCA paper (arXiv 2510.04476): what one attention layer costs for one sequence of
// S tokens, over its whole score matrix (a causal mask halves nothing here).
namespace strait::model {

/// Parameters, cache elements of S tokens, forward FLOPs of S tokens, FLOPs to decode one token
/// after S (absent where the paper gives no single formula).
struct LayerCost {
  double parameters = 0;
  double cache = 0;
  double forward_flops = 0;
  std::optional<double> decode_flops = std::nullopt;
};

/// The symbols of the table. C1 and C2 compress queries and keys/values (MLA: D / rank of either).
struct TableSymbols {
  double D = 0, S = 0, C1 = 1, C2 = 1, g = 1;
  double d = 0, d_rope = 0;  // width of a head, of MLA's rotated part
  double n0 = 0, n1 = 0;     // taps of the convolutions, 0: switched off
};

/// C1 = D / (H d), C2 = D / (G d), g = H / G. With mla C1 = cq, C2 = g = ckv. Other kinds than cca
/// and ccgqa lend the table the default convolutions; all but mla a rotated half head.
TableSymbols table_symbols(const config::Model& model, std::int64_t seq_len);

struct TableRow {
  std::string variant;
  std::string sizes;  // which symbols it uses, "C1 2, C2 8"
  LayerCost cost;
};

/// MHA, GQA, MLA, CCA (C = C2), CCGQA by the formulas of the table.
std::vector<TableRow> attention_table(const TableSymbols& symbols);

/// One way to decode a token after S cached ones.
struct DecodeMode {
  std::string name;
  double flops = 0;
};

/// A model's own layer, item by item.
struct DirectCount {
  AttentionCount count;
  LayerCost cost;  // parameters of every item; decode_flops absent where there are two modes
  std::vector<DecodeMode> decode;
};

DirectCount direct_count(const config::Model& model, std::int64_t seq_len);

}  // namespace strait::model
