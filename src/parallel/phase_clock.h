#pragma once

#include <array>
#include <cstdint>

#include "core/arena.h"
#include "core/tensor.h"

namespace strait::parallel {

/// Parts of an optimizer step, in order. `head` is the vocabulary projection with the loss and
/// their backward, which share each chunk of logits; `data` is what passes before the step's first
/// launch runs: the wait for its input.
enum class Phase : std::uint8_t { data, forward, head, backward, optimizer };
inline constexpr std::array<const char*, 5> kPhaseNames = {"data", "forward", "head", "backward",
                                                           "optimizer"};

/// Adds up, on the device, how long each phase of a step takes.
class PhaseClock {
 public:
  /// Takes `last`, which outlives steps. Call once while the arena plans, once after it allocated.
  void bind(core::Arena& inputs);
  /// Begins a step: takes fresh totals from `state`; what passed since the last lap was data.
  void start(core::Arena& state, const Stream& stream);
  /// Ends a phase of the running step, or a part of it.
  void lap(Phase phase, const Stream& stream) const;
  /// Forgets the time since the last lap: what passed was not part of a step.
  void restart(const Stream& stream) const;

  /// [5] i64 nanoseconds of the step that started last.
  const Tensor& totals() const { return totals_; }

 private:
  Tensor last_;    // [1] i64
  Tensor unused_;  // [1] i64
  Tensor totals_;
};

}  // namespace strait::parallel
