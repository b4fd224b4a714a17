#include "model/traffic.h"

#include <algorithm>

#include "config/resolve.h"
#include "core/tensor.h"

namespace strait::model {
namespace {

DType dtype_of(config::Compute compute) {
  if (compute == config::Compute::bf16) return DType::bf16;
  return compute == config::Compute::f64 ? DType::f64 : DType::f32;
}

/// How often the forwards of the halves of a block run: recomputation repeats them.
struct Passes {
  double attention, ffn;
};

class Counter {
 public:
  Counter(const config::Config& config, const parallel::SequenceCut& cut)
      : model_(config.model),
        cut_(cut),
        expert_ranks_(config.parallel.ep),
        e_(static_cast<double>(kernels::size_of(dtype_of(config.precision.compute)))),
        s_(static_cast<double>(
            kernels::size_of(kernels::stat_dtype(dtype_of(config.precision.compute))))),
        B_(static_cast<double>(config.train.micro_batch)),
        T_(B_ * static_cast<double>(cut.local())),
        passes_{config.train.recompute == config::Recompute::block ? 2.0 : 1.0,
                config.train.recompute == config::Recompute::none ? 1.0 : 2.0} {}

  std::vector<BoundaryBytes> count() {
    const auto layers = static_cast<double>(model_.n_layers);
    if (cut_.cp > 1) {
      keys(layers);
      halo(layers);
    }
    if (cut_.tp > 1) {
      attention(layers);
      for (std::int64_t i = 0; i < model_.n_layers; ++i) feed_forward(i);
      ends();
    }
    return out_;
  }

 private:
  void add(const std::string& boundary, double bytes, const std::string& formula) {
    const auto found = std::ranges::find(out_, boundary, &BoundaryBytes::boundary);
    if (found == out_.end()) {
      out_.push_back({boundary, bytes, formula});
    } else {
      found->bytes += bytes;
    }
  }

  /// Key rows of a rank: all groups' keys and values.
  void keys(double layers) {
    const config::Attention& a = model_.attention;
    const bool mla = a.kind == config::AttentionKind::mla;
    const std::int64_t width = mla ? a.n_heads * (a.mla.nope_dim + a.mla.rope_dim + a.mla.value_dim)
                                   : config::kv_heads(a) * 2 * config::head_dim(model_);
    const double W = static_cast<double>(width / cut_.tp), others = cut_.cp - 1;
    add("cp keys", layers * (passes_.attention + 1) * others * T_ * W * e_,
        "2 (cp - 1) T G (dk + dv) e");
    if (cut_.ring) {
      add("cp key gradients", layers * cut_.cp * T_ * W * s_, "cp T G (dk + dv) s");
    } else {
      add("cp key gradients", layers * others * T_ * W * e_, "(cp - 1) T G (dk + dv) e");
    }
  }

  void halo(double layers) {
    const config::Attention& a = model_.attention;
    if (!config::is_cca(a.kind)) return;
    const std::int64_t d = config::head_dim(model_), G = config::kv_heads(a);
    const std::int64_t C = (a.n_heads + G) * d / cut_.tp, V = G * d;
    const std::int64_t begin = V * cut_.tp_rank / cut_.tp, end = V * (cut_.tp_rank + 1) / cut_.tp;
    const std::int64_t Cd =
        a.cca.value_shift ? std::max<std::int64_t>(0, end - std::max(begin, V / 2)) : 0;
    // The first and the last rank have one neighbour, the others two.
    const double neighbours = (cut_.cp_rank > 0) + (cut_.cp_rank + 1 < cut_.cp);
    const double bytes =
        neighbours * B_ * static_cast<double>(config::history_columns(a.cca) * C + Cd) * e_;
    if (bytes == 0) return;
    const std::string formula = "2 B ((n0 - 1 + n1 - 1) C + Cd) e, half at the ends";
    add("cp halo", layers * passes_.attention * bytes, formula);
    add("cp halo gradients", layers * bytes, formula);
  }

  double rows(double width, double element) const {
    return (cut_.tp - 1) * T_ / cut_.tp * width * element;
  }

  /// A part of the model between two boundaries: backward gathers its input again.
  void halves(double forwards, double count) {
    const double D = rows(static_cast<double>(model_.d_model), e_);
    add("tp rows", count * (forwards + 2) * D, "6 (tp - 1) T / tp D e");
    add("tp sums", count * (forwards + 1) * D, "4 (tp - 1) T / tp D e");
  }

  /// MLA gathers latents [q | ckv | r], and its input alone where queries have no latent.
  void attention(double layers) {
    const config::Attention& a = model_.attention;
    if (a.kind != config::AttentionKind::mla) return halves(passes_.attention, layers);
    const double W = rows(static_cast<double>(a.mla.q_rank + a.mla.kv_rank + a.mla.rope_dim), e_);
    const double D = rows(static_cast<double>(model_.d_model), e_);
    add("tp latents", layers * passes_.attention * W, "(tp - 1) T / tp (cq + ckv + r) e");
    add("tp latent gradients", layers * W, "(tp - 1) T / tp (cq + ckv + r) e");
    const double straight = a.mla.q_rank == 0 ? 1 : 0;
    add("tp rows", layers * (straight * (passes_.attention + 1) + 1) * D,
        straight > 0 ? "6 (tp - 1) T / tp D e" : "4 (tp - 1) T / tp D e");
    add("tp sums", layers * (passes_.attention + straight) * D,
        straight > 0 ? "4 (tp - 1) T / tp D e" : "3 (tp - 1) T / tp D e");
  }

  void feed_forward(std::int64_t layer) {
    if (config::ffn_kind(model_.ffn, layer) == config::FfnKind::dense) {
      return halves(passes_.ffn, 1);
    }
    const config::Moe& moe = model_.ffn.moe;
    if (moe.n_shared > 0) halves(passes_.ffn, 1);
    if (expert_ranks_ > 1) return;
    halves(passes_.ffn, 1);
    const auto K = static_cast<double>(moe.top_k);
    add("tp rows", passes_.ffn * rows(K, 4 + s_) + rows(K, s_), "");
    add("tp sums", rows(K, s_), "");
  }

  /// Embedding and head.
  void ends() {
    const double D = rows(static_cast<double>(model_.d_model), e_);
    add("tp rows", 2 * D, "");
    add("tp sums", (model_.residual_scale ? 3 : 2) * D, "");
    add("tp cross-entropy", (cut_.tp - 1) * T_ * 3 * s_, "3 (tp - 1) T s, once");
  }

  const config::Model& model_;
  const parallel::SequenceCut& cut_;
  std::int64_t expert_ranks_;
  double e_, s_, B_, T_;
  Passes passes_;
  std::vector<BoundaryBytes> out_;
};

}  // namespace

std::vector<BoundaryBytes> traffic_of(const config::Config& config,
                                      const parallel::SequenceCut& cut) {
  return Counter(config, cut).count();
}

ExpertRows balanced_rows(const config::Config& config, const parallel::SequenceCut& cut) {
  const auto ranks = static_cast<double>(config.parallel.ep);
  const auto mixtures =
      static_cast<double>(config::mixtures_before(config.model.ffn, config.model.n_layers));
  const double tokens =
      static_cast<double>(config.train.micro_batch) * static_cast<double>(cut.local()) / cut.tp;
  const double away =
      mixtures * tokens * static_cast<double>(config.model.ffn.moe.top_k) * (ranks - 1) / ranks;
  return {away, away, 1};
}

std::vector<BoundaryBytes> expert_traffic_of(const config::Config& config, const ExpertRows& rows) {
  if (config.parallel.ep == 1) return {};
  const auto e = static_cast<double>(kernels::size_of(dtype_of(config.precision.compute)));
  const double D = static_cast<double>(config.model.d_model) * e;
  const double forwards = config.train.recompute == config::Recompute::none ? 1 : 2;
  const auto mixtures =
      static_cast<double>(config::mixtures_before(config.model.ffn, config.model.n_layers));
  const auto entries = static_cast<double>(config.model.ffn.moe.n_experts + 1);
  const auto others = static_cast<double>(config.parallel.ep - 1);
  return {{"ep offsets", rows.micro_batches * mixtures * forwards * others * entries * 4,
           "4 (ep - 1) (E + 1)"},
          {"ep rows", (forwards + 1) * rows.sent * D, "2 R D e"},
          {"ep results", forwards * rows.received * D, "R' D e"},
          {"ep gradients", rows.sent * D, "R D e"},
          {"ep row gradients", rows.received * D, "R' D e"}};
}

}  // namespace strait::model
