#pragma once

#include <deque>
#include <vector>

#include "core/param_table.h"
#include "kernels/async.h"
#include "parallel/ctx.h"
#include "parallel/owner_exchange.h"

namespace strait::parallel {

/// Sums gradients over ranks and hands out the weights that their owners moved, in buckets of
/// neighbouring stages (core::ParamTable::begin_stage). With `parallel.overlap` this runs beside
/// the model: a bucket's gradients are summed while backward is in the stages before it, its
/// weights arrive while the next forward is there. On a GPU that takes a stream of its own and
/// ranks that meet by NCCL; those that meet in host memory sum after backward. Elsewhere a bucket
/// is summed when it is complete. The results do not depend on any of this. Borrows all; made
/// after the table was allocated, or while it plans.
class GradSync {
 public:
  GradSync(core::ParamTable& table, Groups& groups, Device device, const config::Parallel& parallel,
           const PeerLinks& peers = {});

  /// Backward of the step's last micro-batch follows: from now on complete gradients are summed.
  void begin();
  /// Backward has left `stage`; what is on `stream` now completes its gradients.
  void stage_done(int stage, const Stream& stream);
  /// `stream` goes on when all sums that stage_done() began are made.
  void join(const Stream& stream);
  /// Sums what was not summed since begin(). Afterwards gradients are at the ranks that own the
  /// parameters' states, over all axes their parameters name; elsewhere they are undefined.
  void finish(const Stream& stream);

  /// Hands every rank the weights that owners moved on `stream`. They may come later.
  void share_weights(const Stream& stream);
  /// `stream` goes on when the weights of `stage` are there.
  void await_weights(int stage, const Stream& stream) const;
  /// The same for all weights; not in a graph capture.
  void await_all(const Stream& stream) const;

  int buckets() const { return static_cast<int>(buckets_.size()); }

  /// Bytes that arrive at an owner from each rank at a time, where ranks write to each other.
  static constexpr std::int64_t kArrivingBytes = std::int64_t{32} << 20;

 private:
  /// Sums to owners of one axis, and weights back from there.
  struct Shares {
    core::Axis axis;
    std::vector<Owned> gradients, weights;
  };
  /// Gradients kept here that other axes have terms of.
  struct Rest {
    Tensor gradients;
    std::vector<core::Axis> axes;
  };
  struct Bucket {
    explicit Bucket(Device device) : complete(device), arrived(device) {}
    int first = 0, last = 0;  // stages
    std::vector<Shares> shares;
    std::vector<Rest> rest;
    kernels::Event complete, arrived;
  };

  void cut_stages(std::int64_t bucket_bytes, Device device);
  void add_shares(const core::Segment& segment);
  void add_rest(const core::Segment& segment);
  Bucket& bucket_of(int stage);
  /// Where sums and weights move while the model is on `stream`.
  const Stream& beside(const Stream& stream) const {
    return stream.device == Device::cuda ? own_stream_.get() : stream;
  }
  void sum(const Bucket& bucket, const Stream& stream);
  const OwnerExchange& exchange(core::Axis axis) const {
    return axis == core::Axis::edp ? expert_data_ : data_;
  }

  core::ParamTable& table_;
  Groups& groups_;
  OwnerExchange data_, expert_data_;
  bool beside_model_;                // buckets are summed when they are complete
  kernels::OwnedStream own_stream_;  // of a GPU; elsewhere that of the model
  std::deque<Bucket> buckets_;       // in the order of backward
  std::vector<int> bucket_of_;       // by stage
  kernels::Event moved_, joined_;
  bool summing_ = false;
  int summed_ = 0;  // buckets since begin()
};

/// As GradSync::await_weights and stage_done for the one that a step put into `ctx`, if any.
void await_weights(Ctx& ctx, int stage);
void stage_done(Ctx& ctx, int stage);

}  // namespace strait::parallel
