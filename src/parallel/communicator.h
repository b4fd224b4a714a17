#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/tensor.h"

namespace strait::parallel {

/// Collectives among the ranks of one group. Every method is collective: all ranks call it in the
/// same order. Sums are taken in rank order, so results repeat bit for bit. Tensors are contiguous.
class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;

  /// x = sum of x over ranks, in place; f32, f64 or i64. Blocks the host on CPU tensors.
  virtual void all_reduce_sum(const Tensor& x, const Stream& stream) = 0;
  /// Same text on every rank as on rank `root`.
  virtual std::string broadcast(const std::string& text, int root) = 0;
  /// Texts of all ranks, in rank order.
  virtual std::vector<std::string> gather_all(const std::string& text) = 0;
  virtual void barrier() = 0;
  /// Ranks of equal `color` form a group, ordered by rank here.
  virtual std::unique_ptr<Communicator> split(int color) = 0;
};

/// A group of one: every collective is the identity.
std::unique_ptr<Communicator> make_single();

/// Thrown on the ranks of a group whose peer failed and reported the reason itself.
struct PeerFailed {
  int exit_code;
};

/// Runs `work` (which must not communicate) on every rank. When it throws on any of them, the
/// lowest such rank rethrows its error and every other rank throws PeerFailed, so that a run ends
/// with one message and no rank is left waiting.
void together(Communicator& group, const std::function<void()>& work);

}  // namespace strait::parallel
