#include <algorithm>
#include <tuple>

#include "core/param_shape.h"
#include "core/param_table.h"

// Where parameters lie in the flat tensors, and which data rank keeps their optimizer states.
namespace strait::core {
namespace {

using Params = std::vector<Param*>;

std::int64_t size_of(const Param* param) {
  return padded(product(param->local_shape));
}

/// What a parameter takes on the rank that holds most of it: the same on every rank.
std::int64_t largest_size(const Param* param) {
  const Shard& shard = param->spec.shard;
  const std::int64_t parts = shard.dim < 0 ? 1 : shard.parts;
  return padded((product(param->spec.shape) + parts - 1) / parts);
}

/// Shares parameters out, the largest first, each to the rank that has least. The same on every
/// rank of the mesh. Inside a share the order stays.
std::vector<Params> share_out(const Params& params, int ranks) {
  Params by_size = params;
  std::ranges::stable_sort(by_size, std::ranges::greater{}, largest_size);
  std::vector<std::int64_t> load(static_cast<std::size_t>(ranks));
  for (Param* param : by_size) {
    const auto least = std::ranges::min_element(load);
    param->owner = static_cast<int>(least - load.begin());
    *least += largest_size(param);
  }
  std::vector<Params> shares(static_cast<std::size_t>(ranks));
  for (Param* param : params) shares[static_cast<std::size_t>(param->owner)].push_back(param);
  return shares;
}

}  // namespace

ParamTable::LaidOut ParamTable::lay_out() {
  in_memory_order_.clear();
  ranges_.clear();
  gradient_runs_.clear();
  segments_.clear();
  LaidOut sizes;
  Params everywhere, over_dp, over_edp;
  for (Param& param : params_) {
    if (!param.spec.trainable) continue;
    const bool divided = param.spec.shard.dim >= 0 && param.spec.shard.parts > 1;
    const bool expert = divided && param.spec.shard.axis == Axis::ep;
    const bool shared = (expert ? shares_.edp : shares_.dp) > 1;
    // The weight of a wide parameter is its master, which every rank needs.
    if (shared && param.spec.wide && has_masters()) {
      everywhere.push_back(&param);
    } else {
      (expert && shared ? over_edp : shared ? over_dp : everywhere).push_back(&param);
    }
  }
  lay_out_segment(everywhere, {}, sizes);
  lay_out_segment(over_dp, {Axis::dp, shares_.dp, shares_.dp_rank}, sizes);
  lay_out_segment(over_edp, {Axis::edp, shares_.edp, shares_.edp_rank}, sizes);
  return sizes;
}

void ParamTable::lay_out_segment(const Params& params, Segment segment, LaidOut& sizes) {
  if (params.empty()) return;
  const auto key = [](const Param* p) {
    return std::tuple(p->spec.group, p->spec.decay, p->spec.grad_axes, p->spec.whole_grad);
  };
  std::vector<Params> shares = share_out(params, segment.ranks);
  segment.begin = sizes.all;
  for (int rank = 0; rank < segment.ranks; ++rank) {
    Params& share = shares[static_cast<std::size_t>(rank)];
    std::ranges::stable_sort(share, std::ranges::greater{}, key);
    for (Param* param : share) {
      param->state_begin = param->v_begin = -1;
      param->begin = sizes.all;
      param->extent = size_of(param);
      in_memory_order_.push_back(param);
      if (rank == segment.rank) place_states(*param, segment, sizes);
      sizes.all += size_of(param);
    }
  }
  segment.size = sizes.all - segment.begin;
  segments_.push_back(segment);
}

void ParamTable::place_states(Param& param, const Segment& segment, LaidOut& sizes) {
  const std::int64_t n = size_of(&param);
  const ParamSpec& spec = param.spec;
  const bool has_v = dtypes_.matrix_adam_v || spec.group != OptimGroup::matrix;
  param.state_begin = sizes.own;
  if (has_v) param.v_begin = sizes.with_v;
  const auto follows = [&](const auto& run) { return run.begin + run.size == param.begin; };
  if (ranges_.empty() || ranges_.back().group != spec.group || ranges_.back().decay != spec.decay ||
      !follows(ranges_.back())) {
    ranges_.push_back({spec.group, spec.decay, param.begin, 0, param.state_begin, param.v_begin});
  }
  ranges_.back().size += n;
  const std::vector<Axis> axes = segment.axes_beside(spec);
  if (gradient_runs_.empty() || gradient_runs_.back().axes != axes ||
      !follows(gradient_runs_.back())) {
    gradient_runs_.push_back({axes, param.begin, 0});
  }
  gradient_runs_.back().size += n;
  sizes.own += n;
  if (has_v) sizes.with_v += n;
}

}  // namespace strait::core
