#include "train/predict.h"

#include <algorithm>
#include <cmath>

#include "config/resolve.h"
#include "kernels/hopper.h"

namespace strait::train {
namespace {

constexpr double kBackwardOverForward = 2.5;  // FLOPs of the core, see kernels/attention.cc
constexpr int kGpusOfHost = 8;                // as many ranks are planned on one host

StepPlan plan(config::Config config, int ranks, std::int64_t micro_batches) {
  config.train.batch_size = micro_batches * config.train.micro_batch * config.parallel.dp;
  const parallel::Mesh mesh = parallel::Mesh::make(config.parallel, 0, ranks);
  parallel::Groups groups = parallel::Groups::planned(
      mesh, {on_gpu(config), config.parallel.overlap, ranks <= kGpusOfHost});
  Engine engine(config, mesh, groups);
  return plan_step(engine);
}

std::string general(const std::string& op) {
  return op + kernels::kGeneral;
}

/// FLOPs of the general attention kernels, which pad heads, over those of the heads.
double padding(const config::Model& model) {
  const config::Attention& a = model.attention;
  const std::int64_t key = config::head_dim(model);
  const kernels::HeadDims heads{key, a.kind == config::AttentionKind::mla ? a.mla.value_dim : key};
  const kernels::HeadDims tile = kernels::padded_heads(heads);
  return static_cast<double>(tile.key + tile.value) / static_cast<double>(heads.key + heads.value);
}

/// Rates of the rows whose lengths lie around `length`, between them by its logarithm; of those of
/// the nearest head dim, grouped as asked if there are such.
io::CoreRate core_rate(std::vector<io::CoreRate> rows, std::int64_t key_dim, bool grouped,
                       std::int64_t length) {
  const auto keep = [&](const auto& wanted) {
    if (std::ranges::any_of(rows, wanted)) {
      std::erase_if(rows, [&](const io::CoreRate& row) { return !wanted(row); });
    }
  };
  std::int64_t nearest = rows.front().key_dim;
  for (const io::CoreRate& row : rows) {
    if (std::abs(row.key_dim - key_dim) < std::abs(nearest - key_dim)) nearest = row.key_dim;
  }
  keep([&](const io::CoreRate& row) { return row.key_dim == nearest; });
  keep([&](const io::CoreRate& row) { return row.grouped == grouped; });
  std::ranges::sort(rows, {}, &io::CoreRate::length);
  const auto above =
      std::ranges::find_if(rows, [&](const io::CoreRate& row) { return row.length >= length; });
  if (above == rows.begin()) return rows.front();
  if (above == rows.end()) return rows.back();
  const io::CoreRate &low = *(above - 1), &high = *above;
  const double at = std::log(static_cast<double>(length) / static_cast<double>(low.length)) /
                    std::log(static_cast<double>(high.length) / static_cast<double>(low.length));
  io::CoreRate between = low;
  between.forward += at * (high.forward - low.forward);
  between.backward += at * (high.backward - low.backward);
  return between;
}

double core_seconds(const StepWork& work, const config::Config& config, const io::Rates& rates) {
  const config::Attention& attention = config.model.attention;
  const std::int64_t heads = attention.n_heads;
  const bool grouped =
      attention.kind != config::AttentionKind::mla && config::kv_heads(attention) < heads;
  const std::int64_t dim = config::head_dim(config.model);
  io::CoreRate rate = core_rate(rates.cores, dim, grouped, config.data.seq_len);
  if (work.ops.contains(general("AttentionBwd")) && !rates.general_cores.empty()) {
    rate.backward = core_rate(rates.general_cores, dim, grouped, config.data.seq_len).backward /
                    padding(config.model);
  }
  const auto launches = [&](const std::string& op) {
    double sum = 0;
    for (const std::string& name : {op, general(op)}) {
      const auto found = work.ops.find(name);
      if (found != work.ops.end()) sum += static_cast<double>(found->second.launches);
    }
    return sum;
  };
  // Recomputed blocks run the core forward twice.
  const double backward = launches("AttentionBwd");
  const double forwards = backward > 0 ? launches("AttentionFwd") / backward : 0;
  return work.core_flops * (forwards / rate.forward + kBackwardOverForward / rate.backward) +
         rates.launch * (launches("AttentionFwd") + backward);
}

/// Ops that run kernels which no rate is of; "" for none.
std::string other_heads(const StepWork& work, const config::Model& model, const io::Rates& rates) {
  std::string text;
  const auto add = [&](const char* what) {
    text += text.empty() ? what : std::string(", ") + what;
  };
  if (work.ops.contains(general("AttentionFwd"))) {
    add(rates.general_cores.empty() ? "attention core" : "attention forward");
  }
  const std::string mix = general("CcaMixFwd");
  if (work.ops.contains(mix) && !rates.ops.contains(mix)) add("CCA mix");
  return text.empty() ? "" : text + " of heads of " + std::to_string(config::head_dim(model));
}

/// The link of as many ranks, or nearly so; null: none was measured.
const io::LinkRate* nearest_link(const io::Rates& rates, int ranks) {
  const auto link = std::ranges::min_element(rates.links, {}, [&](const io::LinkRate& row) {
    return std::abs(std::log(static_cast<double>(row.ranks) / ranks));
  });
  return link == rates.links.end() ? nullptr : &*link;
}

}  // namespace

double StepWork::all_bytes_sent() const {
  double bytes = 0;
  for (const auto& [what, sent] : bytes_sent) bytes += sent;
  return bytes;
}

StepWork step_work(const config::Config& config, int ranks, const model::ModelCounts& counts) {
  const StepPlan one = plan(config, ranks, 1), two = plan(config, ranks, 2);
  const config::Train& train = config.train;
  const auto more =
      static_cast<double>(train.batch_size / (train.micro_batch * config.parallel.dp) - 1);
  StepWork work{.memory = one.memory, .ops = {}, .bytes_sent = {}};
  const auto extend = [&](double first, double second) { return first + more * (second - first); };
  for (const auto& [name, second] : two.ops) {
    const auto found = one.ops.find(name);
    const OpCount first = found == one.ops.end() ? OpCount{} : found->second;
    work.ops[name] = {.launches = std::llround(extend(static_cast<double>(first.launches),
                                                      static_cast<double>(second.launches))),
                      .work = {.flops = extend(first.work.flops, second.work.flops),
                               .bytes = extend(first.work.bytes, second.work.bytes)}};
  }
  for (const auto& [what, second] : two.bytes_sent) {
    const auto found = one.bytes_sent.find(what);
    work.bytes_sent[what] = extend(found == one.bytes_sent.end() ? 0 : found->second, second);
  }
  const double pairs = model::document_pairs(config.model, config.data.seq_len);
  work.core_flops = counts.core_flops_per_pair * pairs * static_cast<double>(train.batch_size) /
                    static_cast<double>(ranks);
  return work;
}

std::optional<Prediction> predict(const StepWork& work, const config::Config& config, int ranks,
                                  const io::Rates& rates) {
  if (config.precision.compute != config::Compute::bf16) return std::nullopt;
  Prediction out{.device = rates.device,
                 .core = core_seconds(work, config, rates),
                 .exchange = std::nullopt,
                 .link_device = "",
                 .without_rate = "",
                 .other_heads = other_heads(work, config.model, rates)};
  if (ranks == 1) {
    out.exchange = 0;
  } else if (const io::LinkRate* link = nearest_link(rates, ranks)) {
    out.exchange = work.all_bytes_sent() / link->bytes;
    out.link_device = std::to_string(link->ranks) + " x " + link->device;
  }
  for (const auto& [name, op] : work.ops) {
    if (name.starts_with("AttentionFwd") || name.starts_with("AttentionBwd")) continue;
    auto known = rates.ops.find(name);
    if (known == rates.ops.end() && name.ends_with(kernels::kGeneral)) {
      known = rates.ops.find(name.substr(0, name.rfind(kernels::kGeneral)));
    }
    const bool product =
        name == "Gemm" || name == "SymmetricProduct" || name.starts_with("GroupedGemm");
    if (known == rates.ops.end() && op.work.bytes > 0) {
      out.without_rate += (out.without_rate.empty() ? "" : ", ") + name;
    }
    const io::OpRate rate =
        known != rates.ops.end() ? known->second : io::OpRate{.flops = 0, .bytes = rates.copy};
    (product ? out.products : out.rest) += (rate.flops > 0 ? op.work.flops / rate.flops : 0) +
                                           (rate.bytes > 0 ? op.work.bytes / rate.bytes : 0) +
                                           rates.launch * static_cast<double>(op.launches);
  }
  return out;
}

}  // namespace strait::train
