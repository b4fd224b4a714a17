#pragma once

#include <array>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "config/config.h"
#include "core/param_table.h"
#include "parallel/communicator.h"

namespace strait::parallel {

/// Position of this rank in the mesh world = dp x cp x tp; tp varies fastest, then cp, then dp.
/// Expert ranks are groups of neighbours on the dp axis: ep divides dp.
struct Mesh {
  int dp = 1, cp = 1, tp = 1, ep = 1;
  int dp_rank = 0, cp_rank = 0, tp_rank = 0, ep_rank = 0;
  int edp() const { return dp / ep; }  // data ranks that hold the same experts

  /// Precondition: the config was resolved for `world_size` ranks.
  static Mesh make(const config::Parallel& parallel, int world_rank, int world_size);
};

/// Which tensor or context ranks lie on several of `hosts` (of every rank, in order), where links
/// are slow, and how to place them; empty: none.
std::string apart(const Mesh& mesh, const std::vector<std::string>& hosts);

/// How tensors of a mesh's ranks move.
struct Transport {
  bool own_gpus = false;  // every rank computes on a GPU of its own: by NCCL
  bool overlap = false;   // data ranks exchange beside the model, see GradSync
  bool one_host = false;  // all ranks share it
};

/// The communicators of a mesh. Owns them; `world` is borrowed and outlives it.
class Groups {
 public:
  /// Collective.
  Groups(const Mesh& mesh, Communicator& world, const Transport& transport = {});
  /// One rank alone, for tools and tests.
  Groups();
  /// Ranks that are not there: for planning, on the plan device alone.
  static Groups planned(const Mesh& mesh, const Transport& transport = {});

  Communicator& world() { return *world_; }
  Communicator& axis(core::Axis axis);
  /// The same ranks, for what runs on a stream beside the model's, whose layers may be at work on
  /// axis() meanwhile.
  Communicator& beside(core::Axis axis);
  bool own_gpus() const { return own_gpus_; }
  bool one_host() const { return one_host_; }
  /// Whether what moves between ranks of device memory is only enqueued, see Communicator.
  bool capturable() const { return world_->alone() || world_->capturable(); }
  /// Of all groups together, this rank's.
  Traffic& traffic() { return world_->traffic(); }
  /// Device memory of NCCL, by what the groups did on the plan device; 0 without.
  std::size_t buffer_bytes() const;

 private:
  template <class Make>
  void assemble(const Mesh& mesh, const Transport& transport, const Make& make);

  std::shared_ptr<Communicator> own_world_;  // where it is not borrowed
  Communicator* world_;
  // Axes of the same ranks share one.
  std::array<std::shared_ptr<Communicator>, 5> axes_;
  std::array<std::shared_ptr<Communicator>, 5> beside_;       // where axis() is not for both
  std::vector<std::pair<const Communicator*, int>> by_nccl_;  // and their most blocks
  bool own_gpus_ = false, one_host_ = false;
};

}  // namespace strait::parallel
