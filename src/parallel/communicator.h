#pragma once

#include <cstdint>
#include <exception>
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
