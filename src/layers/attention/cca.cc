#include "layers/attention/cca.h"

#include <algorithm>
#include <cmath>

#include "kernels/elementwise.h"
#include "layers/attention/rope.h"
#include "parallel/tensor_split.h"

namespace strait::layers {
namespace {

LinearSpec proj_spec(const Build& build, const std::string& name) {
  const config::Attention& a = build.model.attention;
  const std::int64_t q = a.n_heads * a.head_dim, kv = a.n_kv_heads * a.head_dim;
  LinearSpec spec{.name = name + ".proj",
                  .in = build.model.d_model,
                  .out = q + 2 * kv,
                  .sections = {{name + ".q.weight", q}, {name + ".k.weight", kv}},
                  // A rank's value heads may be current, delayed, or some of both.
                  .shard = build.over_tensor(0, {q, kv, kv}),
                  .std = build.model.init_std};
  if (a.cca.value_shift) {
    spec.sections.push_back({name + ".v_cur.weight", kv / 2});
    spec.sections.push_back({name + ".v_del.weight", kv / 2});
  } else {
    spec.sections.push_back({name + ".v.weight", kv});
  }
  return spec;
}

/// Delayed ones of this rank's value channels: all are cut in two halves, of which a rank has its
/// heads' share.
std::int64_t delayed_channels(const Build& build) {
  const config::Attention& a = build.model.attention;
  if (!a.cca.value_shift) return 0;
  const std::int64_t channels = a.n_kv_heads * a.head_dim, half = channels / 2;
  const std::int64_t begin = channels * build.mesh.tp_rank / build.mesh.tp;
  const std::int64_t end = channels * (build.mesh.tp_rank + 1) / build.mesh.tp;
  return std::max<std::int64_t>(0, end - std::max(begin, half));
}

kernels::CcaMixSwitches switches_of(const config::Cca& cca) {
  return {.convs = static_cast<int>(cca.convs),
          .qk_mean = cca.qk_mean,
          .temperature = cca.key_temperature == config::KeyTemperature::exp
                             ? kernels::KeyTemperature::exp
                             : kernels::KeyTemperature::linear,
          .norm = cca.norm};
}

Tensor weight_of(const core::Param* param) {
  return param ? param->weight : Tensor{};
}
Tensor grad_of(const core::Param* param) {
  return param ? param->grad : Tensor{};
}

}  // namespace

CcaAttention::CcaAttention(const Build& build, const std::string& name)
    : heads_(build.model.attention.n_heads / build.mesh.tp),
      kv_heads_(build.model.attention.n_kv_heads / build.mesh.tp),
      head_dim_(build.model.attention.head_dim),
      delayed_(delayed_channels(build)),
      history_(config::history_columns(build.model.attention.cca)),
      switches_(switches_of(build.model.attention.cca)),
      rope_(make_rope(build)),
      proj_(build, proj_spec(build, name)),
      mix_(make_mix_params(build, name)),
      o_(build, {.name = name + ".o",
                 .in = build.model.attention.n_heads * head_dim_,
                 .out = build.model.d_model,
                 .shard = build.over_tensor(1),
                 .std = build.output_std()}),
      core_({.heads = heads_,
             .kv_heads = kv_heads_,
             .key_dim = head_dim_,
             .value_dim = head_dim_,
             .slides = build.slides(),
             .layer = build.layer}) {}

CcaAttention::MixParams CcaAttention::make_mix_params(const Build& build, const std::string& name) {
  const config::Attention& a = build.model.attention;
  const config::Cca& cca = a.cca;
  const std::int64_t heads = a.n_heads + a.n_kv_heads, d = a.head_dim;
  const std::int64_t n0 = cca.taps_depthwise, n1 = cca.taps_grouped;
  const std::vector<std::int64_t> channels = {a.n_heads * d, a.n_kv_heads * d};
  const core::Shard by_channel = build.over_tensor(0, channels);
  const core::Shard by_head = build.over_tensor(0, {a.n_heads, a.n_kv_heads});
  const auto bias = [&](const std::string& which, std::vector<std::int64_t> shape,
                        const core::Shard& shard) {
    return &build.table.add({.name = name + which + ".bias",
                             .shape = std::move(shape),
                             .shard = shard,
                             .init = core::Init::constant(0.0)});
  };
  MixParams mix;
  if (cca.convs >= 1) {
    mix.w0 = &build.table.add({.name = name + ".conv0.weight",
                               .shape = {n0, heads * d},
                               .shard = build.over_tensor(1, channels),
                               .init = core::Init::normal(1.0 / std::sqrt(n0))});
    mix.b0 = bias(".conv0", {heads * d}, by_channel);
  }
  if (cca.convs >= 2) {
    mix.w1 = &build.table.add({.name = name + ".conv1.weight",
                               .shape = {heads, n1 * d, d},
                               .shard = by_head,
                               .init = core::Init::normal(1.0 / std::sqrt(n1 * d)),
                               .decay = true});
    mix.b1 = bias(".conv1", {heads, d}, by_head);
  }
  if (!cca.norm) return mix;
  const bool exp = cca.key_temperature == config::KeyTemperature::exp;
  mix.temp = &build.table.add({.name = name + ".temp",
                               .shape = {a.n_kv_heads},
                               .shard = build.over_tensor(0),
                               .init = core::Init::constant(exp ? 0.0 : 1.0)});
  return mix;
}

CcaAttention::Projection CcaAttention::parts_of(Tensor projection) const {
  const std::int64_t z = (heads_ + kv_heads_) * head_dim_;
  const std::int64_t current = kv_heads_ * head_dim_ - delayed_;
  Projection parts{.whole = projection, .z = projection.slice(1, 0, z), .v_cur = {}, .v_del = {}};
  if (current > 0) parts.v_cur = projection.slice(1, z, current);
  if (delayed_ > 0) parts.v_del = projection.slice(1, z + current, delayed_);
  return parts;
}

namespace {

/// Rows leave `kept` [n, C] at its front as those of `rows` [T, C] enter at its end.
void push(Ctx& ctx, ConstTensor rows, Tensor kept) {
  const std::int64_t n = kept.shape[0], fresh = std::min(rows.shape[0], n);
  for (std::int64_t i = 0; i + fresh < n; ++i) {
    kernels::launch(kernels::Copy{.x = kept.slice(0, i + fresh, 1), .y = kept.slice(0, i, 1)},
                    ctx.stream);
  }
  kernels::launch(kernels::Copy{.x = rows.slice(0, rows.shape[0] - fresh, fresh),
                                .y = kept.slice(0, n - fresh, fresh)},
                  ctx.stream);
}

}  // namespace

parallel::Halo CcaAttention::halo_of(parallel::DecodeCache& cache, DType dtype) const {
  parallel::LayerCache& own = cache.of(core_.dims().layer);
  const std::int64_t channels = (heads_ + kv_heads_) * head_dim_;
  if (history_ > 0 && !own.z.defined()) {
    own.z = cache.memory.take(dtype, {1, history_, channels});
  }
  if (delayed_ > 0 && !own.v_del.defined()) own.v_del = cache.memory.take(dtype, {1, delayed_});
  return {own.z, own.v_del};
}

void CcaAttention::remember(Ctx& ctx) const {
  const parallel::Halo& halo = saved_.halo;
  if (halo.z.defined()) {
    push(ctx, saved_.proj.z, halo.z.view({halo.z.shape[1], halo.z.shape[2]}));
  }
  if (halo.v.defined()) push(ctx, saved_.proj.v_del, halo.v);
}

void CcaAttention::show(parallel::Probe& probe) const {
  probe.mix(core_.dims().layer,
            {.w0 = weight_of(mix_.w0),
             .w1 = weight_of(mix_.w1),
             .temp = weight_of(mix_.temp),
             .exponential = switches_.temperature == kernels::KeyTemperature::exp});
}

void CcaAttention::forward(Ctx& ctx, ConstTensor x, Tensor y) {
  const core::Frame frame(ctx.scratch);
  const std::int64_t tokens = ctx.tokens->tokens();
  saved_.x = x;
  saved_.proj = parts_of(ctx.saved.take(x.dtype, {tokens, proj_.out()}));
  proj_.forward_of_rows(ctx, x, saved_.proj.whole);
  saved_.halo = ctx.cache ? halo_of(*ctx.cache, x.dtype)
                          : parallel::receive_halo(ctx, saved_.proj.z, saved_.proj.v_del, history_);
  const auto heads = [&](std::int64_t n) {
    return ctx.saved.take(x.dtype, {tokens, n, head_dim_});
  };
  const Tensor q = heads(heads_), k = heads(kv_heads_), v = heads(kv_heads_);
  kernels::launch(kernels::CcaMixFwd{.z = saved_.proj.z,
                                     .v_cur = saved_.proj.v_cur,
                                     .v_del = saved_.proj.v_del,
                                     .w0 = weight_of(mix_.w0),
                                     .b0 = weight_of(mix_.b0),
                                     .w1 = weight_of(mix_.w1),
                                     .b1 = weight_of(mix_.b1),
                                     .temp = weight_of(mix_.temp),
                                     .positions = ctx.tokens->positions,
                                     .doc_pos = ctx.tokens->doc_pos,
                                     .halo_z = saved_.halo.z,
                                     .halo_v = saved_.halo.v,
                                     .q = q,
                                     .k = k,
                                     .v = v,
                                     .chunk = ctx.tokens->chunk,
                                     .switches = switches_,
                                     .rope = rope_},
                  ctx.stream);
  if (ctx.cache) remember(ctx);
  if (ctx.probe) show(*ctx.probe);
  saved_.out = ctx.saved.take(x.dtype, {tokens, heads_ * head_dim_});
  core_.forward(ctx, q, k, v, saved_.out.split_last(heads_, head_dim_));
  o_.forward_to_rows(ctx, saved_.out, y);
}

void CcaAttention::backward(Ctx& ctx, ConstTensor dy, Tensor dx) {
  const core::Frame frame(ctx.scratch);
  const std::int64_t tokens = ctx.tokens->tokens();
  const Tensor dout = ctx.scratch.take(dy.dtype, {tokens, heads_ * head_dim_});
  o_.backward_of_rows(ctx, saved_.out, dy, dout);
  const ConstTensor x = parallel::whole_rows_beside(ctx, saved_.x);
  const auto heads = [&](std::int64_t n) {
    return ctx.scratch.take(dy.dtype, {tokens, n, head_dim_});
  };
  const Tensor dq = heads(heads_), dk = heads(kv_heads_), dv = heads(kv_heads_);
  core_.backward(ctx, dout.split_last(heads_, head_dim_), dq, dk, dv);
  const Projection dproj = parts_of(ctx.scratch.take(dy.dtype, {tokens, proj_.out()}));
  mix_backward(ctx, dq, dk, dv, dproj);
  proj_.backward_to_rows(ctx, x, dproj.whole, dx);
}

void CcaAttention::mix_backward(Ctx& ctx, ConstTensor dq, ConstTensor dk, ConstTensor dv,
                                const Projection& dproj) {
  const core::Frame frame(ctx.scratch);
  const parallel::Halo dhalo = parallel::halo_gradients(ctx, saved_.halo);
  kernels::launch(kernels::CcaMixBwd{.dq = dq,
                                     .dk = dk,
                                     .dv = dv,
                                     .z = saved_.proj.z,
                                     .w0 = weight_of(mix_.w0),
                                     .b0 = weight_of(mix_.b0),
                                     .w1 = weight_of(mix_.w1),
                                     .b1 = weight_of(mix_.b1),
                                     .temp = weight_of(mix_.temp),
                                     .positions = ctx.tokens->positions,
                                     .doc_pos = ctx.tokens->doc_pos,
                                     .halo_z = saved_.halo.z,
                                     .dz = dproj.z,
                                     .dv_cur = dproj.v_cur,
                                     .dv_del = dproj.v_del,
                                     .dhalo_z = dhalo.z,
                                     .dhalo_v = dhalo.v,
                                     .dw0 = grad_of(mix_.w0),
                                     .db0 = grad_of(mix_.b0),
                                     .dw1 = grad_of(mix_.w1),
                                     .db1 = grad_of(mix_.b1),
                                     .dtemp = grad_of(mix_.temp),
                                     .chunk = ctx.tokens->chunk,
                                     .switches = switches_,
                                     .rope = rope_},
                  ctx.stream);
  parallel::return_halo(ctx, dhalo, dproj.z, dproj.v_del);
}

}  // namespace strait::layers
