#include "parallel/mesh.h"

#include <algorithm>

#include "parallel/comm_nccl.h"

namespace strait::parallel {
namespace {

// Of the multiprocessors, as many as NCCL may take from the model while data ranks exchange beside
// it. It has a whole backward for that, which needs far less than the links can carry.
constexpr int kBlocksBeside = 8;

// A group of all ranks that is not that of an axis adds up single numbers.
constexpr int kBlocksOfWorld = 1;

/// This rank's place in a group; ranks of equal color form one.
struct Place {
  int color = 0, rank = 0, size = 1;
};

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

std::string apart(const Mesh& mesh, const std::vector<std::string>& hosts) {
  const auto several = [&](std::size_t first, std::size_t ranks) {
    return std::any_of(hosts.begin() + first, hosts.begin() + first + ranks,
                       [&](const std::string& host) { return host != hosts[first]; });
  };
  const auto together = static_cast<std::size_t>(mesh.tp) * mesh.cp;
  for (std::size_t first = 0; first < hosts.size(); first += together) {
    if (!several(first, together)) continue;
    return "ranks " + std::to_string(first) + " to " + std::to_string(first + together - 1) +
           " share a sequence (parallel.tp = " + std::to_string(mesh.tp) +
           ", parallel.cp = " + std::to_string(mesh.cp) +
           ") on several hosts, whose links are slow; start a multiple of " +
           std::to_string(together) +
           " ranks on each host, host by host (mpirun --map-by slot, srun --distribution=block)";
  }
  return {};
}

template <class Make>
void Groups::assemble(const Mesh& mesh, const Transport& transport, const Make& make) {
  own_gpus_ = transport.own_gpus;
  one_host_ = transport.one_host;
  const int world_size = mesh.dp * mesh.cp * mesh.tp;
  // A group whose tensors move by NCCL holds device memory, so none is made twice.
  const auto group = [&](const Place& place, int most_blocks = 0) {
    std::shared_ptr<Communicator> made = make(place, most_blocks);
    if (own_gpus_ && place.size > 1) by_nccl_.emplace_back(made.get(), most_blocks);
    return made;
  };
  const int beside = transport.overlap ? kBlocksBeside : 0;
  const int row = mesh.cp_rank * mesh.tp + mesh.tp_rank, rows = mesh.cp * mesh.tp;
  const Place dp = {row, mesh.dp_rank, mesh.dp};
  const Place cp = {mesh.dp_rank * mesh.tp + mesh.tp_rank, mesh.cp_rank, mesh.cp};
  const Place tp = {mesh.dp_rank * mesh.cp + mesh.cp_rank, mesh.tp_rank, mesh.tp};
  const Place ep = {mesh.dp_rank / mesh.ep * rows + row, mesh.ep_rank, mesh.ep};
  const Place edp = {mesh.ep_rank * rows + row, mesh.dp_rank / mesh.ep, mesh.edp()};
  const auto at = [&](core::Axis axis) -> std::shared_ptr<Communicator>& {
    return axes_[static_cast<int>(axis)];
  };
  at(core::Axis::dp) = group(dp, beside);
  at(core::Axis::cp) = group(cp);
  at(core::Axis::tp) = group(tp);
  at(core::Axis::ep) = group(ep);  // layers use it while dp is at work beside them
  at(core::Axis::edp) = mesh.ep == 1 ? at(core::Axis::dp) : group(edp, beside);
  if (!own_gpus_ || world_size == 1) return;
  if (mesh.cp > 1) beside_[static_cast<int>(core::Axis::cp)] = group(cp, beside);
  if (mesh.tp > 1) beside_[static_cast<int>(core::Axis::tp)] = group(tp, beside);
  const auto whole =
      std::ranges::find_if(axes_, [&](const auto& axis) { return axis->size() == world_size; });
  if (whole != axes_.end()) {
    world_ = whole->get();
  } else {
    own_world_ = group({0, mesh.dp_rank * rows + row, world_size}, kBlocksOfWorld);
    world_ = own_world_.get();
  }
}

Groups::Groups(const Mesh& mesh, Communicator& world, const Transport& transport) : world_(&world) {
  assemble(mesh, transport,
           [&](const Place& place, int most_blocks) -> std::shared_ptr<Communicator> {
             auto part = world.split(place.color);
             if (transport.own_gpus && !part->alone())
               part = make_nccl(std::move(part), most_blocks);
             return part;
           });
}

Groups::Groups() : own_world_(make_single()), world_(own_world_.get()) {
  for (auto& axis : axes_) axis = make_single();
}

Groups Groups::planned(const Mesh& mesh, const Transport& transport) {
  Groups groups;
  const auto traffic = std::make_shared<Traffic>();
  const int rank = (mesh.dp_rank * mesh.cp + mesh.cp_rank) * mesh.tp + mesh.tp_rank;
  groups.own_world_ = make_planned(rank, mesh.dp * mesh.cp * mesh.tp, traffic);
  groups.world_ = groups.own_world_.get();
  groups.assemble(mesh, transport, [&](const Place& place, int) {
    return make_planned(place.rank, place.size, traffic);
  });
  return groups;
}

Communicator& Groups::axis(core::Axis axis) {
  return *axes_[static_cast<int>(axis)];
}

Communicator& Groups::beside(core::Axis axis) {
  const auto i = static_cast<std::size_t>(axis);
  return beside_[i] ? *beside_[i] : *axes_[i];
}

std::size_t Groups::buffer_bytes() const {
  std::size_t bytes = by_nccl_.empty() ? 0 : kNcclBytes;
  for (const auto& [group, most_blocks] : by_nccl_) {
    bytes += nccl_buffer_bytes(group->links(), most_blocks);
  }
  return bytes;
}

}  // namespace strait::parallel
