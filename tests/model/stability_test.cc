#include "train/stability.h"

#include <cmath>
#include <limits>
#include <map>

#include "parallel/probe.h"
#include "tests/model/model_run.h"

namespace strait::test {
namespace {

using config::AttentionKind;

/// Elements [t][h][c] of a tensor of three dims, read through its strides.
using Rows = std::vector<std::vector<std::vector<double>>>;

Rows rows_of(const ConstTensor& x) {
  Rows out;
  for (std::int64_t t = 0; t < x.shape[0]; ++t) {
    out.emplace_back();
    for (std::int64_t h = 0; h < x.shape[1]; ++h) {
      const double* at = x.as<double>() + t * x.stride[0] + h * x.stride[1];
      out.back().emplace_back();
      for (std::int64_t c = 0; c < x.shape[2]; ++c)
        out.back().back().push_back(at[c * x.stride[2]]);
    }
  }
  return out;
}

/// Keeps everything that it is shown.
class Record : public parallel::Probe {
 public:
  struct Layer {
    Rows q, k, v, o;
  };
  void scores(std::int64_t layer, ConstTensor q, ConstTensor k, const parallel::Spans&,
              double) override {
    layers[layer].q = rows_of(q);
    layers[layer].k = rows_of(k);
  }
  void values(std::int64_t layer, ConstTensor v, ConstTensor o) override {
    layers[layer].v = rows_of(v);
    layers[layer].o = rows_of(o);
  }
  void mix(std::int64_t, const parallel::MixWeights&) override {}

  std::map<std::int64_t, Layer> layers;
};

/// Largest score of a counted token and a key of its document, not behind it, nor beyond a window.
double largest_logit(const Record::Layer& layer, const parallel::TokenBatch& tokens,
                     std::int64_t window) {
  double largest = -std::numeric_limits<double>::infinity();
  const double group = static_cast<double>(layer.q[0].size()) / layer.k[0].size();
  for (std::size_t t = 0; t < layer.q.size(); ++t) {
    if (get(tokens.labels, t) < 0) continue;
    const auto before = static_cast<std::size_t>(get(tokens.doc_pos, t));
    for (std::size_t j = t - before; j <= t; ++j) {
      if (window > 0 && t - j >= static_cast<std::size_t>(window)) continue;
      for (std::size_t h = 0; h < layer.q[t].size(); ++h) {
        const auto& q = layer.q[t][h];
        const auto& k = layer.k[j][static_cast<std::size_t>(h / group)];
        double sum = 0;
        for (std::size_t c = 0; c < q.size(); ++c) sum += q[c] * k[c];
        largest = std::max(largest, sum / std::sqrt(static_cast<double>(q.size())));
      }
    }
  }
  return largest;
}

/// exp of the entropy of singular values, from the covariance of channels and by Jacobi rotations.
double spectrum_rank(const Rows& x, const parallel::TokenBatch& tokens) {
  std::vector<std::vector<double>> rows;
  for (std::size_t t = 0; t < x.size(); ++t) {
    if (get(tokens.labels, t) < 0) continue;
    rows.emplace_back();
    for (const auto& head : x[t]) rows.back().insert(rows.back().end(), head.begin(), head.end());
  }
  const std::size_t w = rows[0].size();
  std::vector<double> mean(w);
  for (const auto& row : rows) {
    for (std::size_t c = 0; c < w; ++c) mean[c] += row[c] / static_cast<double>(rows.size());
  }
  std::vector<std::vector<double>> a(w, std::vector<double>(w));
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < w; ++i) {
      for (std::size_t j = 0; j < w; ++j) a[i][j] += (row[i] - mean[i]) * (row[j] - mean[j]);
    }
  }
  for (int sweep = 0; sweep < 30; ++sweep) {
    for (std::size_t p = 0; p < w; ++p) {
      for (std::size_t q = p + 1; q < w; ++q) {
        const double angle = 0.5 * std::atan2(2 * a[p][q], a[q][q] - a[p][p]);
        const double c = std::cos(angle), s = std::sin(angle);
        for (std::size_t i = 0; i < w; ++i) {
          const double x_p = a[i][p], x_q = a[i][q];
          a[i][p] = c * x_p - s * x_q;
          a[i][q] = s * x_p + c * x_q;
        }
        for (std::size_t i = 0; i < w; ++i) {
          const double x_p = a[p][i], x_q = a[q][i];
          a[p][i] = c * x_p - s * x_q;
          a[q][i] = s * x_p + c * x_q;
        }
      }
    }
  }
  double sum = 0, entropy = 0, largest = 0;
  for (std::size_t i = 0; i < w; ++i) largest = std::max(largest, a[i][i]);
  const auto singular = [&](std::size_t i) {
    return a[i][i] > 1e-13 * largest ? std::sqrt(a[i][i]) : 0.0;
  };
  for (std::size_t i = 0; i < w; ++i) sum += singular(i);
  for (std::size_t i = 0; i < w; ++i) {
    if (singular(i) > 0) entropy -= singular(i) / sum * std::log(singular(i) / sum);
  }
  return std::exp(entropy);
}

/// Documents of 1 to 14 tokens; every fifth token has no label.
const Documents kText = {{5, 1, 14, 4}, {9, 2, 13}};

void expect_direct(const config::Model& model, std::int64_t window = 0) {
  ModelRun run(model, kText);
  const train::Stability got = train::measure_stability(run.engine());
  Record record;
  parallel::Ctx& ctx = run.engine().ctx();
  ctx.probe = &record;
  run.engine().model().begin_step(ctx);
  run.engine().model().evaluate(ctx);
  ctx.probe = nullptr;
  ASSERT_EQ(got.layers.size(), static_cast<std::size_t>(model.n_layers));
  std::int64_t counted = 0;
  for (const double label : values(ctx.tokens->labels)) counted += label >= 0 ? 1 : 0;
  EXPECT_EQ(got.tokens, counted);
  for (std::size_t i = 0; i < got.layers.size(); ++i) {
    const Record::Layer& layer = record.layers.at(static_cast<std::int64_t>(i));
    const double logit = largest_logit(layer, *ctx.tokens, window);
    EXPECT_NEAR(got.layers[i].max_logit, logit, 1e-12 * std::abs(logit)) << i;
    EXPECT_NEAR(got.layers[i].rank_v, spectrum_rank(layer.v, *ctx.tokens), 1e-6) << i;
    EXPECT_NEAR(got.layers[i].rank_out, spectrum_rank(layer.o, *ctx.tokens), 1e-6) << i;
  }
}

TEST(Stability, EqualsADirectComputationForEveryKind) {
  for (const AttentionKind kind : {AttentionKind::mha, AttentionKind::gqa, AttentionKind::mla,
                                   AttentionKind::cca, AttentionKind::ccgqa}) {
    SCOPED_TRACE(static_cast<int>(kind));
    expect_direct(with_attention(kind));
  }
}

TEST(Stability, SeesNoFurtherThanAWindow) {
  config::Model model = with_attention(AttentionKind::gqa);
  model.attention.window = 2;
  expect_direct(model, 2);
}

TEST(Stability, TellsTemperaturesAndTaps) {
  config::Model model = with_attention(AttentionKind::ccgqa);
  model.attention.cca.taps_depthwise = 3;
  ModelRun run(model, kText);
  const train::Stability got = train::measure_stability(run.engine());
  const auto weight = [&](const std::string& name) {
    for (const core::Param& param : run.table().params()) {
      if (param.spec.name == name) return values(param.weight);
    }
    return std::vector<double>{};
  };
  for (std::size_t i = 0; i < got.layers.size(); ++i) {
    const train::LayerStability& layer = got.layers[i];
    const std::string at = "layers." + std::to_string(i) + ".attn.";
    const std::vector<double> beta = weight(at + "temp"), w0 = weight(at + "conv0.weight"),
                              w1 = weight(at + "conv1.weight");
    ASSERT_EQ(beta.size(), 2u);
    EXPECT_DOUBLE_EQ(layer.tau_min, std::exp(std::min(beta[0], beta[1])));
    EXPECT_DOUBLE_EQ(layer.tau_max, std::exp(std::max(beta[0], beta[1])));
    EXPECT_DOUBLE_EQ(layer.tau_mean, (std::exp(beta[0]) + std::exp(beta[1])) / 2);
    ASSERT_EQ(layer.conv0_taps.size(), 3u);  // of 6 heads of 4
    for (std::size_t tap = 0; tap < 3; ++tap) {
      double square = 0;
      for (std::size_t c = 0; c < 24; ++c) square += w0[24 * tap + c] * w0[24 * tap + c];
      EXPECT_NEAR(layer.conv0_taps[tap], std::sqrt(square / 24), 1e-12) << tap;
    }
    ASSERT_EQ(layer.conv1_taps.size(), 2u);
    for (std::size_t tap = 0; tap < 2; ++tap) {
      double square = 0;
      for (std::size_t h = 0; h < 6; ++h) {
        for (std::size_t e = 0; e < 16; ++e) {
          const double w = w1[(2 * h + tap) * 16 + e];
          square += w * w;
        }
      }
      EXPECT_NEAR(layer.conv1_taps[tap], std::sqrt(square / 24), 1e-12) << tap;
    }
  }
}

TEST(Stability, LeavesOutWhatALayerLacks) {
  config::Model model = with_attention(AttentionKind::cca);
  model.attention.cca.convs = 1;
  model.attention.cca.norm = false;
  ModelRun bare(model, kText), gqa(with_attention(AttentionKind::gqa), kText);
  const train::LayerStability cca = train::measure_stability(bare.engine()).layers.at(0);
  EXPECT_TRUE(std::isnan(cca.tau_mean) && cca.conv1_taps.empty());
  EXPECT_EQ(cca.conv0_taps.size(), 2u);
  const train::LayerStability other = train::measure_stability(gqa.engine()).layers.at(0);
  EXPECT_TRUE(std::isnan(other.tau_mean) && other.conv0_taps.empty());
}

}  // namespace
}  // namespace strait::test
