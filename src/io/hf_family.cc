#include "io/hf_family.h"

#include "core/error.h"

namespace strait::io {
namespace {

[[noreturn]] void no_family(const std::string& why) {
  throw core::InputError(
      "no Hugging Face layout (llama, qwen3, qwen3_moe, deepseek_v3, zaya) holds " + why);
}

void need(bool held, const std::string& otherwise) {
  if (!held) no_family(otherwise);
}

HfFamily mla_family(const config::Model& model) {
  const config::Moe& moe = model.ffn.moe;
  if (model.attention.qk_norm) no_family("model.attention.qk_norm with kind mla");
  if (model.ffn.kind == config::FfnKind::dense) return HfFamily::deepseek_v3;
  if (moe.every != 1) no_family("model.ffn.moe.every = " + std::to_string(moe.every) + " with mla");
  if (!moe.selection_bias) no_family("an mla mixture without model.ffn.moe.selection_bias");
  if (moe.n_shared < 1) no_family("an mla mixture without shared experts");
  return HfFamily::deepseek_v3;
}

/// ZAYA1 is one architecture. What it has and the model has not can be written as constants that
/// change nothing (name_map.cc); the rest must be there.
HfFamily cca_family(const config::Model& model) {
  const config::Moe& moe = model.ffn.moe;
  const config::Cca& cca = model.attention.cca;
  const auto lacks = [](bool held, const char* what) {
    need(held, std::string("attention kinds cca and ccgqa without ") + what);
  };
  lacks(cca.convs == 2, "model.attention.cca.convs = 2");
  lacks(cca.value_shift, "model.attention.cca.value_shift");
  if (model.ffn.kind == config::FfnKind::dense) return HfFamily::zaya;
  lacks(moe.first_dense == 0 && moe.every == 1, "a mixture in every layer");
  lacks(moe.router.kind == config::RouterKind::mlp, "model.ffn.moe.router.kind mlp");
  lacks(moe.skip, "model.ffn.moe.skip");
  lacks(moe.selection_bias, "model.ffn.moe.selection_bias");
  lacks(moe.n_shared == 0, "model.ffn.moe.n_shared = 0");
  return HfFamily::zaya;
}

HfFamily gqa_family(const config::Model& model) {
  const config::Moe& moe = model.ffn.moe;
  const bool qk_norm = model.attention.qk_norm;
  if (model.ffn.kind == config::FfnKind::dense) return qk_norm ? HfFamily::qwen3 : HfFamily::llama;
  if (!qk_norm) no_family("a mixture of experts without model.attention.qk_norm");
  if (moe.selection_bias) no_family("model.ffn.moe.selection_bias with gqa or mha");
  if (moe.n_shared > 0) no_family("shared experts with gqa or mha");
  return HfFamily::qwen3_moe;
}

/// Settings that have no tensors, of the attention.
void check_attention(const config::Model& model, HfFamily family) {
  const config::Attention& attention = model.attention;
  const std::string with = std::string(" as ") + name_of(family);
  need(attention.window == 0, "model.attention.window > 0" + with);
  if (family == HfFamily::zaya) {
    need(attention.cca.norm, "attention without model.attention.cca.norm" + with);
    need(attention.cca.qk_mean, "attention without model.attention.cca.qk_mean" + with);
    need(!attention.rope.interleaved, "model.attention.rope.interleaved" + with);
    return;
  }
  need(attention.sliding.pattern.empty(), "model.attention.sliding.pattern" + with);
  if (family == HfFamily::deepseek_v3) {
    need(attention.mla.norm_eps == 1e-6, "model.attention.mla.norm_eps other than 1e-6" + with);
    return;
  }
  need(attention.rope.fraction == 1, "model.attention.rope.fraction below 1" + with);
  need(!attention.rope.interleaved, "model.attention.rope.interleaved" + with);
}

/// Settings that have no tensors, of the mixture.
void check_mixture(const config::Model& model, HfFamily family) {
  if (model.ffn.kind == config::FfnKind::dense) return;
  const config::Moe& moe = model.ffn.moe;
  const std::string with = std::string(" as ") + name_of(family);
  if (family == HfFamily::deepseek_v3) {
    return need(moe.score == config::RouterScore::sigmoid,
                "model.ffn.moe.score other than sigmoid" + with);
  }
  need(moe.score == config::RouterScore::softmax, "model.ffn.moe.score other than softmax" + with);
  need(moe.groups == 1, "model.ffn.moe.groups > 1" + with);
  need(moe.scale == 1, "model.ffn.moe.scale other than 1" + with);
  if (family != HfFamily::zaya) return;
  need(moe.top_k == 1, "model.ffn.moe.top_k > 1" + with);
  need(!moe.renormalise, "model.ffn.moe.renormalise" + with);
}

}  // namespace

const char* name_of(HfFamily family) {
  switch (family) {
    case HfFamily::llama:
      return "llama";
    case HfFamily::qwen3:
      return "qwen3";
    case HfFamily::qwen3_moe:
      return "qwen3_moe";
    case HfFamily::deepseek_v3:
      return "deepseek_v3";
    case HfFamily::zaya:
      return "zaya";
    case HfFamily::strait:
      return "strait";
  }
  return "?";
}

std::string architecture_of(HfFamily family) {
  switch (family) {
    case HfFamily::llama:
      return "LlamaForCausalLM";
    case HfFamily::qwen3:
      return "Qwen3ForCausalLM";
    case HfFamily::qwen3_moe:
      return "Qwen3MoeForCausalLM";
    case HfFamily::deepseek_v3:
      return "DeepseekV3ForCausalLM";
    case HfFamily::zaya:
      return "ZayaForCausalLM";
    case HfFamily::strait:
      return "StraitForCausalLM";
  }
  return "?";
}

HfFamily hf_family(const config::Model& model) {
  const bool cca = config::is_cca(model.attention.kind);
  if (!cca && model.residual_scale) no_family("model.residual_scale without cca or ccgqa");
  if (!cca && model.ffn.moe.router.kind != config::RouterKind::linear) {
    no_family("model.ffn.moe.router.kind mlp without cca or ccgqa");
  }
  if (!cca && model.ffn.moe.skip) no_family("model.ffn.moe.skip without cca or ccgqa");
  if (cca) return cca_family(model);
  return model.attention.kind == config::AttentionKind::mla ? mla_family(model) : gqa_family(model);
}

ExactFamily exact_family(const config::Model& model) {
  if (!model.attention.causal) {
    throw core::InputError(
        "model.attention.causal is false: Hugging Face causal language models attend backwards "
        "alone; only causal models can be exported");
  }
  try {
    const HfFamily family = hf_family(model);
    check_attention(model, family);
    check_mixture(model, family);
    return {.family = family, .why = ""};
  } catch (const core::InputError& reason) {
    return {.family = HfFamily::strait, .why = reason.what()};
  }
}

}  // namespace strait::io
