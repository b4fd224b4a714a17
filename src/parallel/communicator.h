#pragma once

#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/tensor.h"
#include "parallel/comm_buffers.h"
#include "parallel/traffic.h"

namespace strait::parallel {

/// Something for one peer, or from one: contiguous, any dtype. What is sent is only read.
struct Message {
  int peer = 0;
  Tensor data;
};

/// A tensor that one rank of a group keeps; the others have one of the same size.
struct Owned {
  int owner = 0;
  Tensor data;
};

/// Collectives among the ranks of one group. Every method is collective: all ranks call it in the
/// same order. Sums are taken in rank order (comm_nccl.h: in NCCL's), so results repeat bit for
/// bit. Tensors are contiguous. `what` names the boundary for counts and for the watchdog. On the
/// plan device nothing moves, but bytes are counted. Host memory (a Stream of the cpu) may be
/// passed to any group.
class Communicator {
 public:
  explicit Communicator(std::shared_ptr<Traffic> traffic) : traffic_(std::move(traffic)) {}
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  bool alone() const { return size() == 1; }
  /// The other ranks, i from 0, in the order in which this one sends where all send to all, and in
  /// which what they send arrives.
  int receiver(int i) const { return (rank() + 1 + i) % size(); }
  int sender(int i) const { return (rank() + size() - 1 - i) % size(); }

  /// x = sum of x over ranks, in place; f32, f64 or i64. Blocks the host on CPU tensors.
  void all_reduce_sum(const Tensor& x, const Stream& stream, const char* what = "sum");
  /// whole = the parts of all ranks, in rank order; any dtype.
  void all_gather(ConstTensor part, const Tensor& whole, const Stream& stream, const char* what);
  /// part = this rank's piece of the sum of `whole` over ranks, which is left undefined; f64, f32,
  /// or bf16 added up in f32 and rounded once.
  void reduce_scatter_sum(const Tensor& whole, const Tensor& part, const Stream& stream,
                          const char* what);
  /// Each piece becomes the sum over ranks at its owner and is left undefined elsewhere; one dtype,
  /// summed as by reduce_scatter_sum.
  void sum_to_owners(std::span<const Owned> pieces, const Stream& stream, const char* what);
  /// Each piece becomes what it is at its owner; any dtype.
  void share_from_owners(std::span<const Owned> pieces, const Stream& stream, const char* what);
  /// Point to point, in any pattern that all ranks agree on: between two ranks the k-th message
  /// sent is the k-th received, of one size. A rank may send to itself.
  void exchange(std::span<const Message> sends, std::span<const Message> receives,
                const Stream& stream, const char* what);
  /// Counts a collective that goes another way (peers.h), of which `bytes` leave this rank.
  void count(const char* what, std::int64_t bytes);

  /// Same text on every rank as on rank `root`.
  virtual std::string broadcast(const std::string& text, int root) = 0;
  /// Texts of all ranks, in rank order.
  virtual std::vector<std::string> gather_all(const std::string& text) = 0;
  virtual void barrier() = 0;
  /// Whether a collective of device memory returns at once, without a wait for the stream, so that
  /// a graph can capture it.
  virtual bool capturable() const = 0;
  /// Ranks of equal `color` form a group, ordered by rank here.
  virtual std::unique_ptr<Communicator> split(int color) = 0;

  Traffic& traffic() const { return *traffic_; }
  /// Of all collectives on the plan device so far.
  const Links& links() const { return links_; }

  /// What a transport does where there is something to move; callers use the collectives above.
  virtual void sum(const Tensor& x, const Stream& stream) = 0;
  virtual void gather(ConstTensor part, const Tensor& whole, const Stream& stream) = 0;
  virtual void scatter_sum(const Tensor& whole, const Tensor& part, const Stream& stream) = 0;
  virtual void sum_owned(std::span<const Owned> pieces, const Stream& stream) = 0;
  virtual void share_owned(std::span<const Owned> pieces, const Stream& stream) = 0;
  virtual void deliver(std::span<const Message> sends, std::span<const Message> receives,
                       const Stream& stream) = 0;
  const std::shared_ptr<Traffic>& shared_traffic() const { return traffic_; }

 private:
  /// Counts what a collective around the ring sends, and moves it.
  template <class Move>
  void around(const Stream& stream, const char* what, std::int64_t bytes, const Move& move);

  std::shared_ptr<Traffic> traffic_;
  Links links_;
};

/// A group of one: every collective is the identity.
std::unique_ptr<Communicator> make_single();

/// Place `rank` in a group of `size` ranks that are not there: counts on the plan device, throws
/// elsewhere.
std::unique_ptr<Communicator> make_planned(int rank, int size, std::shared_ptr<Traffic> traffic);

/// An error that all ranks of a group know of: none is left waiting for another. The lowest rank
/// that failed carries the error, on the others it is null.
struct AgreedFailure {
  int exit_code = 0;
  std::exception_ptr error;
};

/// Runs `work` (which must not communicate) on every rank. When it throws on any of them, every
/// rank throws AgreedFailure, so that a run ends with one message.
void together(Communicator& group, const std::function<void()>& work);

}  // namespace strait::parallel
