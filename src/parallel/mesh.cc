#include "parallel/mesh.h"

#include "parallel/comm_nccl.h"

namespace strait::parallel {
namespace {

// Of the multiprocessors, as many as NCCL may take from the model while data ranks exchange beside
// it. It has a whole backward for that, which needs far less than the links can carry.
constexpr int kBlocksBeside = 8;

}  // namespace

Mesh Mesh::make(const config::Parallel& parallel, int world_rank, int world_size) {
  Mesh mesh;
  mesh.cp = static_cast<int>(parallel.cp);
  mesh.tp = static_cast<int>(parallel.tp);
  mesh.ep = static_cast<int>(parallel.ep);
  mesh.dp = world_size / (mesh.cp * mesh.tp);
  mesh.tp_rank = world_rank % mesh.tp;
  mesh.cp_rank = world_rank / mesh.tp % mesh.cp;
  mesh.dp_rank = world_rank / (mesh.tp * mesh.cp);
  mesh.ep_rank = mesh.dp_rank % mesh.ep;
  return mesh;
}

Groups::Groups(const Mesh& mesh, Communicator& world, const Transport& transport)
    : world_(&world), own_gpus_(transport.own_gpus) {
  // A group whose tensors move by NCCL holds device memory, so none is made twice.
  const auto group = [&](int color, int most_blocks = 0) -> std::shared_ptr<Communicator> {
    auto part = world.split(color);
    if (own_gpus_ && !part->alone()) part = make_nccl(std::move(part), most_blocks);
    return part;
  };
  const int beside = transport.overlap ? kBlocksBeside : 0;
  const int tp_group = mesh.dp_rank * mesh.cp + mesh.cp_rank;
  const int cp_group = mesh.dp_rank * mesh.tp + mesh.tp_rank;
  const int dp_group = mesh.cp_rank * mesh.tp + mesh.tp_rank;
  const int ep_group = (mesh.dp_rank / mesh.ep) * mesh.cp * mesh.tp + dp_group;
  const auto at = [&](core::Axis axis) -> std::shared_ptr<Communicator>& {
    return axes_[static_cast<int>(axis)];
  };
  at(core::Axis::dp) = group(dp_group, beside);
  at(core::Axis::cp) = group(cp_group);
  at(core::Axis::tp) = group(tp_group);
  at(core::Axis::ep) = group(ep_group);  // layers use it while dp is at work beside them
  at(core::Axis::edp) = mesh.ep == 1 ? at(core::Axis::dp)
                                     : group(mesh.ep_rank * mesh.cp * mesh.tp + dp_group, beside);
  if (!own_gpus_ || world.alone()) return;
  for (const auto& axis : axes_) {
    if (axis->size() == world.size()) world_ = axis.get();
  }
  for (const core::Axis axis : {core::Axis::cp, core::Axis::tp}) {
    const auto i = static_cast<std::size_t>(axis);
    if (axes_[i]->alone()) continue;
    const bool context = axis == core::Axis::cp;
    beside_[i] = make_nccl(world.split(context ? cp_group : tp_group), beside);
  }
  if (world_ != &world) return;
  own_world_ = make_nccl(world.split(0));
  world_ = own_world_.get();
}

Groups::Groups() : own_world_(make_single()), world_(own_world_.get()) {
  for (auto& axis : axes_) axis = make_single();
}

Groups Groups::planned(const Mesh& mesh) {
  Groups groups;
  const auto traffic = std::make_shared<Traffic>();
  const auto plan = [&](core::Axis axis, int rank, int size) {
    groups.axes_[static_cast<int>(axis)] = make_planned(rank, size, traffic);
  };
  plan(core::Axis::dp, mesh.dp_rank, mesh.dp);
  plan(core::Axis::cp, mesh.cp_rank, mesh.cp);
  plan(core::Axis::tp, mesh.tp_rank, mesh.tp);
  plan(core::Axis::ep, mesh.ep_rank, mesh.ep);
  plan(core::Axis::edp, mesh.dp_rank / mesh.ep, mesh.edp());
  const int rank = (mesh.dp_rank * mesh.cp + mesh.cp_rank) * mesh.tp + mesh.tp_rank;
  groups.own_world_ = make_planned(rank, mesh.dp * mesh.cp * mesh.tp, traffic);
  groups.world_ = groups.own_world_.get();
  return groups;
}

Communicator& Groups::axis(core::Axis axis) {
  return *axes_[static_cast<int>(axis)];
}

Communicator& Groups::beside(core::Axis axis) {
  const auto i = static_cast<std::size_t>(axis);
  return beside_[i] ? *beside_[i] : *axes_[i];
}

}  // namespace strait::parallel
