#include "train/engine.h"

#include <algorithm>

#include "kernels/memory.h"
#include "parallel/grad_sync.h"
#include "parallel/key_exchange.h"

namespace strait::train {

DType compute_dtype(config::Compute compute) {
  switch (compute) {
    case config::Compute::f64:
      return DType::f64;
    case config::Compute::f32:
      return DType::f32;
    case config::Compute::bf16:
      return DType::bf16;
  }
  return DType::f32;
}

core::ParamDtypes param_dtypes(const config::Config& config, bool training) {
  const config::Precision& precision = config.precision;
  const DType weight = compute_dtype(precision.compute), stat = kernels::stat_dtype(weight);
  return {.weight = weight,
          .grad = precision.gradients == config::Storage::bf16 ? DType::bf16 : stat,
          .state = precision.states == config::Storage::bf16 ? DType::bf16 : stat,
          .matrix_adam_v = config.optim.kind == config::OptimKind::adamw,
          .training = training};
}

layers::Build build_of(const config::Config& config, const parallel::Mesh& mesh,
                       core::ParamTable& table) {
  return {.model = config.model,
          .mesh = mesh,
          .table = table,
          .wide_residual = config.precision.residual == config::ResidualStream::f32};
}

bool exchanges_by_ring(const config::Config& config) {
  switch (config.parallel.cp_exchange) {
    case config::KeyExchange::gather:
      return false;
    case config::KeyExchange::ring:
      return true;
    case config::KeyExchange::automatic:
      break;
  }
  const DType dtype = compute_dtype(config.precision.compute);
  const auto bytes = [&](bool ring) {
    return parallel::exchange_bytes(ring, config.parallel.cp, 1, 1, kernels::size_of(dtype),
                                    kernels::size_of(kernels::stat_dtype(dtype)));
  };
  return bytes(true) < bytes(false);
}

Engine::Engine(const config::Config& config, const parallel::Mesh& mesh, parallel::Groups& groups)
    : config_(config),
      mesh_(mesh),
      table_(param_dtypes(config, true), {.dp = mesh.dp,
                                          .dp_rank = mesh.dp_rank,
                                          .edp = mesh.edp(),
                                          .edp_rank = mesh.dp_rank / mesh.ep}),
      model_(build_of(config_, mesh_, table_), config.train.recompute),
      shard_(parallel::MaskRule::of(config.model.attention), config.train.micro_batch,
             {config.data.seq_len, mesh_, exchanges_by_ring(config)}),
      ctx_(arenas_.ctx(groups)) {
  table_.allocate(Device::plan);
  bind();
}

void Engine::bind() {
  core::Arena& inputs = arenas_.inputs;
  shard_.bind(inputs);
  values_ = inputs.take(DType::f64, {7});
  staging_ = inputs.take(DType::i32, {2, shard_.block_elements()});
  if (meets_beside() && ctx_.groups.one_host() && mesh_.dp > 1) {
    const auto gradients = static_cast<std::int64_t>(table_.flat().grad.bytes());
    ctx_.peers.arriving = arriving_.take(
        DType::u8, {mesh_.dp, std::min(parallel::GradSync::kArrivingBytes, gradients)});
  }
  ctx_.clock.bind(inputs);
  ctx_.groups.traffic().clock().bind(inputs);
  ctx_.scale = {.per_token = values_.slice(0, 0, 1),
                .per_sequence = 1.0 / static_cast<double>(config_.train.batch_size)};
}

void Engine::allocate(Device device) {
  stream_ = kernels::OwnedStream(device);
  ctx_.stream = stream_.get();
  // Ranks whose GPU tensors meet in host memory wait for it anyway.
  const bool apart = device != Device::cuda || ctx_.groups.own_gpus();
  if (apart && (mesh_.tp > 1 || mesh_.ep > 1) && config_.parallel.overlap) {
    lane_ = std::make_unique<parallel::Lane>(device);
    ctx_.lane = lane_.get();
  }
  table_.allocate(device);
  arenas_.allocate(device);
  arriving_.allocate(device);
  bind();
  table_.initialise(static_cast<std::uint64_t>(config_.run.seed), ctx_.stream);
}

parallel::Peers* Engine::peers_of(core::Axis axis) {
  parallel::Communicator& group = ctx_.groups.axis(axis);
  if (group.alone()) return nullptr;
  std::vector<Tensor> blocks;
  for (const core::Arena* arena : std::initializer_list<const core::Arena*>{
           &arenas_.saved, &arenas_.scratch, &arriving_, &table_.weights()}) {
    if (arena->peak() > 0) blocks.push_back(arena->block());
  }
  auto peers = parallel::connect_peers(group, blocks);
  return peers ? peers_.emplace_back(std::move(peers)).get() : nullptr;
}

void Engine::connect() {
  if (ctx_.stream.device != Device::cuda || !meets_beside()) return;
  parallel::PeerLinks& peers = ctx_.peers;
  peers.tensor = peers_of(core::Axis::tp);
  peers.ahead = peers_of(core::Axis::ep);
  peers.dispatch = peers_of(core::Axis::ep);
  peers.collect = peers_of(core::Axis::ep);
  if (!peers.arriving.defined()) return;
  peers.data = peers_of(core::Axis::dp);
  peers.expert_data = mesh_.ep > 1 ? peers_of(core::Axis::edp) : peers.data;
}

void Engine::disconnect() {
  kernels::synchronise(ctx_.stream);
  ctx_.peers = {.arriving = ctx_.peers.arriving};
  peers_.clear();
  ctx_.groups.world().barrier();
}

std::vector<const core::Arena*> Engine::arenas() const {
  return {&arenas_.saved, &arenas_.scratch, &arenas_.state, &arenas_.inputs, &arriving_};
}

std::int64_t Engine::micro_batches() const {
  return config_.train.batch_size / (mesh_.dp * config_.train.micro_batch);
}

}  // namespace strait::train
