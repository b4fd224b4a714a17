#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

// The resolved configuration of a run: plain values, one struct per section. Keys, defaults, units
// and meanings live in schema_*.cc, parsing in parse.cc, rules in validate*.cc, derivation in
// resolve.cc. Nothing mutates a Config after resolve().
namespace strait::config {

enum class Device { automatic, cpu, cuda };
enum class AttentionKind { mha, gqa, mla, cca, ccgqa };
enum class KeyTemperature { exp, linear };
enum class RopePositions { document, sequence };
enum class FfnKind { dense, moe };
enum class RouterKind { linear, mlp };
enum class RouterScore { softmax, sigmoid };
enum class BiasRule { sign, adamw };
enum class OptimKind { adamw, muon };
enum class NewtonSchulz { original, five_step, polar_express };
enum class MuonScale { adamw_rms, aspect, unit_rms };
enum class ScheduleKind { constant, cosine, linear, wsd };
enum class KeyExchange : std::uint8_t { automatic, gather, ring };
enum class Recompute { none, ffn, block };
enum class Compute { f64, f32, bf16 };
enum class DataFormat { automatic, strait, llmc, megatron, llmq, uint16 };
enum class Packing { chunk, best_fit };
enum class Storage { wide, bf16 };
enum class ResidualStream { compute, f32 };
enum class OnBadStep { off, stop, skip, rewind };

struct Run {
  std::string name;  // derived from the config's file name
  std::string dir;   // empty: runs/<name>-<UTC time>
  std::int64_t seed = 1;
  Device device = Device::automatic;
};

struct Rope {
  double theta = 10000.0;
  double fraction = 1.0;  // of head_dim (mla: of rope_dim, which is all rotary)
  bool interleaved = false;
  RopePositions positions = RopePositions::document;
};

struct Cca {
  std::int64_t convs = 2;           // 0, 1 (depthwise) or 2 (depthwise, then per head)
  std::int64_t taps_depthwise = 2;  // n0
  std::int64_t taps_grouped = 2;    // n1
  bool qk_mean = true;
  bool value_shift = true;
  bool norm = true;  // L2 norm of q and k heads with key temperature; false: neither
  KeyTemperature key_temperature = KeyTemperature::exp;
};

struct Mla {
  std::int64_t q_rank = 0;   // cq; 0: queries are projected directly
  std::int64_t kv_rank = 0;  // ckv
  std::int64_t nope_dim = 0;
  std::int64_t rope_dim = 0;
  std::int64_t value_dim = 0;
  double norm_eps = 1e-6;  // of the inner norms, apart from model.norm_eps (DeepSeek-V3)
};

/// Layers that look back less far than the others.
struct Sliding {
  std::string pattern;      // 'f' full, 's' sliding, repeated over the layers; empty: all full
  std::int64_t window = 0;  // tokens seen, the own one included
  double theta = 10000.0;   // of their rotation
};

struct Attention {
  AttentionKind kind = AttentionKind::gqa;
  std::int64_t n_heads = 0;     // H
  std::int64_t n_kv_heads = 0;  // G; 0: n_heads (mha, cca, mla)
  std::int64_t head_dim = 0;    // d; 0: d_model / n_heads
  bool causal = true;
  std::int64_t window = 0;  // tokens seen, the own one included; 0: all
  bool qk_norm = false;     // RMS norm per head with weight (mha, gqa)
  Sliding sliding;
  Rope rope;
  Cca cca;
  Mla mla;
};

/// What computes the scores' logits.
struct Router {
  RouterKind kind = RouterKind::linear;
  std::int64_t width = 0;      // R, of the mlp
  bool depth_average = false;  // the mlp's state adds that of the layer before, times gamma
};

struct Moe {
  std::int64_t n_experts = 0;
  std::int64_t top_k = 1;
  std::int64_t d_expert = 0;
  std::int64_t n_shared = 0;     // shared experts, each d_expert wide
  std::int64_t first_dense = 0;  // leading layers with a dense feed-forward
  std::int64_t every = 1;  // of the rest, each `every`-th layer (the last of each group) is MoE
  Router router = {};
  bool skip = false;  // one class more, which selects no expert
  RouterScore score = RouterScore::softmax;
  bool renormalise = false;
  std::int64_t groups = 1;
  std::int64_t top_groups = 1;
  double scale = 1.0;
  bool selection_bias = false;  // a bias per expert that only selects
  double bias_rate = 0.0;       // loss-free balancing: step per optimizer step
  BiasRule bias_rule = BiasRule::sign;
  bool forced_balance = false;  // for benchmarks: experts take places of a sequence in turn
  double aux_coef = 0.0;        // balance loss per sequence
  double z_coef = 0.0;
};

struct Ffn {
  FfnKind kind = FfnKind::dense;
  std::int64_t d_ff = 0;  // hidden width of dense layers
  Moe moe;
};

struct Model {
  std::int64_t vocab_size = 0;  // 0: the tokenizer's
  std::int64_t d_model = 0;
  std::int64_t n_layers = 0;
  bool tie_embeddings = false;
  double norm_eps = 1e-5;
  double init_std = 0.02;
  bool residual_scale = false;  // learned bias and scale on both terms of every residual sum
  Attention attention;
  Ffn ffn;
};

struct Init {
  std::string from;  // Hugging Face folder to start from; empty: random weights
};

/// data.train of a run on random ids.
inline constexpr std::string_view kRandomTokens = "random";

struct Data {
  std::string train;               // files with weights (data_list.h), or kRandomTokens
  std::string val = {};            // files; empty: val_documents of each dataset of train
  std::int64_t val_documents = 1;  // held out from the end of train when val is empty
  DataFormat format = DataFormat::automatic;  // of token files
  Packing packing = Packing::chunk;
  std::string tokenizer = "bytes";
  std::int64_t seq_len = 256;
  bool document_mask = true;  // attention, convolutions and value shift restart at documents
};

struct Muon {
  double momentum = 0.95;
  bool nesterov = true;
  NewtonSchulz coefficients = NewtonSchulz::original;
  MuonScale scale = MuonScale::adamw_rms;
};

struct Optim {
  OptimKind kind = OptimKind::adamw;
  double lr = 3e-4;
  ScheduleKind schedule = ScheduleKind::cosine;
  std::int64_t warmup_steps = 0;
  double min_lr_ratio = 0.1;
  double decay_fraction = 0.2;  // of the steps, at the end (wsd)
  double beta1 = 0.9;
  double beta2 = 0.95;
  double eps = 1e-8;
  double weight_decay = 0.1;
  double clip_norm = 1.0;  // 0: no clipping
  Muon muon;
};

struct Train {
  std::int64_t steps = 0;
  std::int64_t batch_size = 0;   // sequences per optimizer step, over all ranks
  std::int64_t micro_batch = 0;  // sequences per rank and pass; 0: batch_size / dp
  Recompute recompute = Recompute::none;
  std::int64_t log_every = 1;
};

struct Parallel {
  std::int64_t dp = 0;  // 0: ranks / (cp tp)
  std::int64_t cp = 1;
  std::int64_t tp = 1;
  std::int64_t ep = 1;
  KeyExchange cp_exchange = KeyExchange::automatic;
  bool overlap = true;           // sums over ranks run beside the model
  double bucket_mib = 32;        // of gradients, summed at once
  double watchdog_seconds = 25;  // a rank may let others wait; 0: for ever
};

struct Precision {
  Compute compute = Compute::f32;
  ResidualStream residual = ResidualStream::compute;
  Storage gradients = Storage::wide;  // of weights
  Storage states = Storage::wide;     // of the optimizer
};

struct Checkpoint {
  std::int64_t every = 0;       // steps; 0: only at the end; -1: never
  std::int64_t keep = 2;        // newest kept
  std::int64_t keep_every = 0;  // steps whose multiples are kept for good; 0: none
};

/// What is done about steps that would spoil the weights.
struct Guard {
  OnBadStep non_finite = OnBadStep::stop;  // loss or gradient norm is NaN or infinite
  OnBadStep spike = OnBadStep::off;        // loss or gradient norm far above the steps before
  double z = 8.0;                          // how far, in robust standard deviations
  std::int64_t window = 128;               // steps that "far" is measured by
  std::int64_t limit = 10;                 // bad steps in a run before it stops
};

struct Eval {
  std::int64_t every = 0;          // steps; 0: only at the end
  std::int64_t sequences = 0;      // at most this many; 0: the whole split
  std::int64_t probe_every = 0;    // steps between measurements of stability; 0: none
  std::string tasks;               // multiple choice, see task_list.h; empty: none
  std::int64_t task_items = 0;     // of each task at most; 0: all
  std::int64_t sample_tokens = 0;  // tokens of text to generate at the end; 0: none
  std::string sample_prompt;
  double sample_temperature = 0.8;
};

struct Config {
  Run run;
  Model model;
  Init init;
  Data data;
  Optim optim;
  Train train;
  Parallel parallel;
  Precision precision;
  Checkpoint checkpoint;
  Guard guard;
  Eval eval;
};

/// Kind of a layer's feed-forward under the layer pattern of `ffn`.
FfnKind ffn_kind(const Ffn& ffn, std::int64_t layer);

/// Whether attention runs inside a convolved latent: cca and ccgqa.
bool is_cca(AttentionKind kind);

/// Columns of the latent before a token that its convolutions see.
std::int64_t history_columns(const Cca& cca);

/// Whether a layer attends within model.attention.sliding.window.
bool slides(const Attention& attention, std::int64_t layer);

/// Mixtures of experts among the layers before `layer`.
std::int64_t mixtures_before(const Ffn& ffn, std::int64_t layer);

/// Channels of a head that rotate, r: an even number, 0 for none. Of a resolved config.
std::int64_t rope_dims(const Attention& attention);

}  // namespace strait::config
