#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels/qk_norm_rope.h"

// Rotary embedding of rows, shared by every op that rotates.
namespace strait::kernels::cpu {

/// Inverse frequencies of one Rope, and the rotations of positions 0 .. kStep - 1. Everything in
/// double. Built once per launch and read by all threads.
class RopeTable {
 public:
  /// A position is kStep * high + low; its rotation is the product of the two parts' rotations.
  static constexpr std::int64_t kStep = 16;

  explicit RopeTable(const Rope& rope) : rope_(rope) {
    const std::int64_t pairs = rope.dims / 2;
    for (std::int64_t i = 0; i < pairs; ++i) {
      frequency_.push_back(std::pow(rope.theta, -2.0 * static_cast<double>(i) / rope.dims));
    }
    low_cos_.resize(kStep * pairs);
    low_sin_.resize(kStep * pairs);
    for (std::int64_t p = 0; p < kStep; ++p) {
      turn(p, low_cos_.data() + p * pairs, low_sin_.data() + p * pairs);
    }
  }

  const Rope& rope() const { return rope_; }
  std::int64_t pairs() const { return static_cast<std::int64_t>(frequency_.size()); }
  const double* low_cos(std::int64_t low) const { return low_cos_.data() + low * pairs(); }
  const double* low_sin(std::int64_t low) const { return low_sin_.data() + low * pairs(); }

  /// cos and sin of position * frequency, [pairs] each, straight from the library.
  void turn(std::int64_t position, double* cosine, double* sine) const {
    for (std::int64_t i = 0; i < pairs(); ++i) {
      const double angle = static_cast<double>(position) * frequency_[i];
      cosine[i] = std::cos(angle);
      sine[i] = std::sin(angle);
    }
  }

 private:
  Rope rope_;
  std::vector<double> frequency_;  // [pairs]
  std::vector<double> low_cos_;    // [kStep, pairs]
  std::vector<double> low_sin_;
};

/// Rotation by one position at a time; one instance per thread, any order of positions. Consecutive
/// positions cost no trigonometry: only a new multiple of kStep does. What a position yields does
/// not depend on the positions before it.
template <class T>
class RopeRotation {
 public:
  /// `table` outlives this.
  explicit RopeRotation(const RopeTable& table)
      : table_(table),
        high_cos_(table.pairs()),
        high_sin_(table.pairs()),
        cos_(table.pairs()),
        sin_(table.pairs()) {
    table_.turn(0, high_cos_.data(), high_sin_.data());
  }

  /// Precondition: position >= 0.
  void set_position(std::int64_t position) {
    const std::int64_t high = position / RopeTable::kStep;
    if (high != high_) {
      table_.turn(high * RopeTable::kStep, high_cos_.data(), high_sin_.data());
      high_ = high;
    }
    const double* low_cos = table_.low_cos(position % RopeTable::kStep);
    const double* low_sin = table_.low_sin(position % RopeTable::kStep);
    const std::int64_t pairs = table_.pairs();
    for (std::int64_t i = 0; i < pairs; ++i) {
      cos_[i] = static_cast<T>(high_cos_[i] * low_cos[i] - high_sin_[i] * low_sin[i]);
      sin_[i] = static_cast<T>(high_sin_[i] * low_cos[i] + high_cos_[i] * low_sin[i]);
    }
  }

  /// Rotates the first rope.dims of the d channels of one head at the position last set, copies the
  /// others; `inverse` rotates back (the transpose, hence the gradient). y may be x.
  void rotate(const T* x, T* y, std::int64_t d, bool inverse = false) const {
    const std::int64_t pairs = table_.pairs();
    const T sign = inverse ? T(-1) : T(1);
    const bool interleaved = table_.rope().interleaved;
    // Two loops, so that each has constant strides and vectorises.
    if (interleaved) {
#pragma omp simd
      for (std::int64_t i = 0; i < pairs; ++i) turn_pair(x, y, 2 * i, 2 * i + 1, i, sign);
    } else {
#pragma omp simd
      for (std::int64_t i = 0; i < pairs; ++i) turn_pair(x, y, i, i + pairs, i, sign);
    }
    if (x != y) {
      for (std::int64_t c = 2 * pairs; c < d; ++c) y[c] = x[c];
    }
  }

 private:
  void turn_pair(const T* x, T* y, std::int64_t first, std::int64_t second, std::int64_t i,
                 T sign) const {
    const T a = x[first], b = x[second];
    const T cosine = cos_[i], sine = sign * sin_[i];
    y[first] = a * cosine - b * sine;
    y[second] = b * cosine + a * sine;
  }

  const RopeTable& table_;
  std::int64_t high_ = 0;
  std::vector<double> high_cos_, high_sin_;  // rotation by kStep * high_
  std::vector<T> cos_, sin_;                 // rotation by the position last set
};

}  // namespace strait::kernels::cpu
