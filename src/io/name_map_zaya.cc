#include "io/name_map_builder.h"

namespace strait::io {
namespace {

/// Logits +-kDecided * gelu(gelu(1)) are 430 apart, and exp(-430) is 0 in float32: the one expert
/// of a dense layer runs with a weight of exactly 1. The number is exact in bf16.
constexpr double kDecided = 256;

/// The layers of a zaya model. Where the model has no residual scaling, no depth averaging or no
/// mixture at all, constants stand for them that leave its function as it is.
class ZayaMap {
 public:
  ZayaMap(const config::Model& model, NameMapBuilder& out)
      : model_(model), out_(out), width_(model.d_model), dense_(is_dense(model)) {}

  void add_all() {
    add_scale("embed_residual.branch_", "model.input_hidden_states_");
    for (std::int64_t layer = 0; layer < model_.n_layers; ++layer) {
      out_.enter("layers." + std::to_string(layer) + ".",
                 "model.layers." + std::to_string(layer) + ".");
      out_.add("attn_norm.weight", "input_layernorm.weight", {width_});
      add_attention();
      add_residual_scale("attn_residual.", "post_attention_residual_scale.");
      add_residual_scale("ffn_residual.", "post_mlp_residual_scale.");
      out_.add("ffn_norm.weight", "post_attention_layernorm.weight", {width_});
      if (dense_) {
        add_sole_router(layer);
        add_experts("ffn.", 1, model_.ffn.d_ff);
      } else {
        add_router(layer);
        add_experts("ffn.experts.", model_.ffn.moe.n_experts, model_.ffn.moe.d_expert);
      }
    }
  }

 private:
  static bool is_dense(const config::Model& model) {
    return model.ffn.kind == config::FfnKind::dense;
  }

  void add_scale(const std::string& ours, const std::string& theirs) {
    if (model_.residual_scale) {
      out_.add(ours + "scale", theirs + "scale", {width_});
      out_.add(ours + "bias", theirs + "bias", {width_});
    } else {
      out_.add_constant(theirs + "scale", {width_}, 1);
      out_.add_constant(theirs + "bias", {width_}, 0);
    }
  }

  void add_residual_scale(const std::string& ours, const std::string& theirs) {
    add_scale(ours + "branch_", theirs + "hidden_states_");
    add_scale(ours + "stream_", theirs + "residual_");
  }

  void add_attention() {
    const config::Attention& attention = model_.attention;
    const std::int64_t d = attention.head_dim;
    const std::int64_t q = attention.n_heads * d, kv = attention.n_kv_heads * d;
    const std::string qkv = "self_attn.qkv_proj.";
    out_.add("attn.q.weight", qkv + "q_proj.weight", {q, width_});
    out_.add("attn.k.weight", qkv + "k_proj.weight", {kv, width_});
    out_.add("attn.v_cur.weight", qkv + "v_proj_current.weight", {kv / 2, width_});
    out_.add("attn.v_del.weight", qkv + "v_proj_delayed.weight", {kv / 2, width_});
    add_convolutions(qkv, attention.n_heads + attention.n_kv_heads);
    out_.add("attn.temp", "self_attn.qk_norm.temp", {attention.n_kv_heads}).exponent =
        attention.cca.key_temperature == config::KeyTemperature::exp;
    out_.add("attn.o.weight", "self_attn.o_proj.weight", {width_, q});
  }

  /// Theirs are Conv1d weights [out, in / groups, taps]; ours have the taps first and the outputs
  /// last.
  void add_convolutions(const std::string& qkv, std::int64_t heads) {
    const std::int64_t d = model_.attention.head_dim, channels = heads * d;
    const std::int64_t n0 = model_.attention.cca.taps_depthwise;
    const std::int64_t n1 = model_.attention.cca.taps_grouped;
    out_.add_view("attn.conv0.weight", qkv + "conv_qk_depthwise.weight", {channels, 1, n0},
                  {.dims = {{n0, 1}, {channels, n0}}});
    out_.add("attn.conv0.bias", qkv + "conv_qk_depthwise.bias", {channels});
    out_.add_view("attn.conv1.weight", qkv + "conv_qk_grouped.weight", {channels, d, n1},
                  {.dims = {{heads, d * d * n1}, {n1, 1}, {d, n1}, {d, d * n1}}});
    out_.add_view("attn.conv1.bias", qkv + "conv_qk_grouped.bias", {channels},
                  {.dims = {{heads, d}, {d, 1}}});
  }

  void add_router(std::int64_t layer) {
    const config::Moe& moe = model_.ffn.moe;
    const std::int64_t R = moe.router.width, E = moe.n_experts;
    const std::string ours = "ffn.router.", theirs = "mlp.gate.", mlp = theirs + "router_mlp.";
    out_.add(ours + "down.weight", theirs + "down_proj.weight", {R, width_});
    out_.add(ours + "down.bias", theirs + "down_proj.bias", {R});
    if (layer > 0 && moe.router.depth_average) {
      out_.add(ours + "gamma", theirs + "router_states_scale", {R});
    } else if (layer > 0) {
      out_.add_constant(theirs + "router_states_scale", {R}, 0);
    }
    out_.add(ours + "norm.weight", mlp + "norm.weight", {R});
    for (const char* hidden : {"fc1", "fc2"}) {
      const std::string name = hidden;
      out_.add(ours + name + ".weight", mlp + name + ".weight", {R, R});
      out_.add(ours + name + ".bias", mlp + name + ".bias", {R});
    }
    out_.add(ours + "out.weight", mlp + "out_proj.weight", {E + 1, R});
    out_.add_view(ours + "bias", theirs + "balancing_biases", {E + 1}, {.dims = {{E, 1}}});
    add_skip_bias(E);
  }

  /// Their last selection bias belongs to the class that skips; they set it on every load.
  void add_skip_bias(std::int64_t experts) {
    out_.add_constant("mlp.gate.balancing_biases", {experts + 1}, -1, experts, 1).any = true;
  }

  /// A router of one channel that always chooses its one expert.
  void add_sole_router(std::int64_t layer) {
    const std::string theirs = "mlp.gate.", mlp = theirs + "router_mlp.";
    out_.add_constant(theirs + "down_proj.weight", {1, width_}, 0);
    out_.add_constant(theirs + "down_proj.bias", {1}, 0);
    if (layer > 0) out_.add_constant(theirs + "router_states_scale", {1}, 0);
    out_.add_constant(mlp + "norm.weight", {1}, 1);
    for (const char* hidden : {"fc1", "fc2"}) {
      out_.add_constant(mlp + hidden + ".weight", {1, 1}, 0);
      out_.add_constant(mlp + hidden + ".bias", {1}, 1);
    }
    out_.add_constant(mlp + "out_proj.weight", {2, 1}, kDecided, 0, 1);
    out_.add_constant(mlp + "out_proj.weight", {2, 1}, -kDecided, 1, 1);
    out_.add_constant(theirs + "balancing_biases", {2}, 0, 0, 1);
    add_skip_bias(1);
  }

  /// One tensor for the gates and ups of all E experts, gate rows first.
  void add_experts(const std::string& ours, std::int64_t E, std::int64_t F) {
    const std::int64_t D = width_;
    const auto half = [&](const std::string& part, std::int64_t offset) {
      out_.add_view(ours + part, "mlp.experts.gate_up_proj", {E, 2 * F, D},
                    {.offset = offset, .dims = {{E, 2 * F * D}, {F * D, 1}}});
    };
    half("gate.weight", 0);
    half("up.weight", F * D);
    out_.add_view(ours + "down.weight", "mlp.experts.down_proj", {E, D, F},
                  {.dims = {{E * D * F, 1}}});
  }

  const config::Model& model_;
  NameMapBuilder& out_;
  std::int64_t width_;
  bool dense_;
};

}  // namespace

void add_zaya_layers(const config::Model& model, NameMapBuilder& out) {
  ZayaMap(model, out).add_all();
}

}  // namespace strait::io
