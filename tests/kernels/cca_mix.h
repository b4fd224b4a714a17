#pragma once

#include <cmath>
#include <ostream>

#include "kernels/cca.h"
#include "tests/kernels/op_test.h"

// Instances of the CCA mix and its equations written a second time, for its tests.
namespace strait::kernels::test {

struct MixCase {
  std::string name;
  std::vector<std::int64_t> documents;  // lengths, packed into one sequence
  std::int64_t heads = 4, groups = 2, width = 4, taps0 = 2, taps1 = 2;
  std::int64_t delayed = 4;  // of the G d value channels
  CcaMixSwitches switches = {};
  Rope rope = {.theta = 100.0, .dims = 2};

  std::int64_t tokens() const {
    std::int64_t sum = 0;
    for (std::int64_t length : documents) sum += length;
    return sum;
  }
  std::int64_t channels() const { return (heads + groups) * width; }
  std::int64_t halo() const {
    return (switches.convs >= 1 ? taps0 - 1 : 0) + (switches.convs == 2 ? taps1 - 1 : 0);
  }
};

inline void PrintTo(const MixCase& c, std::ostream* out) {
  *out << c.name;
}

/// Activations of a mix over some chunks, and the parameters' gradients.
struct Mix {
  Mix(Buffers& b, const MixCase& of, DType dtype) : c(of), type(dtype), chunk(of.tokens()) {
    const std::int64_t tokens = c.tokens(), e = c.heads + c.groups;
    std::vector<std::int32_t> in_document, rope_positions;
    for (std::int64_t length : c.documents) {
      for (std::int64_t i = 0; i < length; ++i) {
        in_document.push_back(static_cast<std::int32_t>(i));
        rope_positions.push_back(static_cast<std::int32_t>(3 * i + 1));
      }
    }
    doc_pos = b.ints(in_document, {tokens});
    positions = b.ints(rope_positions, {tokens});
    // Columns of one wider buffer, as a fused down-projection gives them.
    const std::int64_t values_width = c.groups * c.width, current = values_width - c.delayed;
    const Tensor fused = b.normal(type, {tokens, c.channels() + values_width});
    z = fused.slice(1, 0, c.channels());
    if (current > 0) v_cur = fused.slice(1, c.channels(), current);
    if (c.delayed > 0) v_del = fused.slice(1, c.channels() + current, c.delayed);
    if (c.switches.norm) temp = b.normal(type, {c.groups}, 0.5);
    if (c.switches.convs >= 1) {
      w0 = b.normal(type, {c.taps0, c.channels()});
      b0 = b.normal(type, {c.channels()});
    }
    if (c.switches.convs == 2) {
      w1 = b.normal(type, {e, c.taps1 * c.width, c.width}, 0.5);
      b1 = b.normal(type, {e, c.width});
    }
    dq = b.normal(type, {tokens, c.heads, c.width});
    dk = b.normal(type, {tokens, c.groups, c.width});
    dv = b.normal(type, {tokens, c.groups, c.width});
    allocate(b);
  }

  void allocate(Buffers& b) {
    const std::int64_t tokens = c.tokens(), values_width = c.groups * c.width;
    q = b.poisoned(type, {tokens, c.heads, c.width});
    k = b.poisoned(type, {tokens, c.groups, c.width});
    v = b.poisoned(type, {tokens, c.groups, c.width});
    const Tensor fused = b.poisoned(type, {tokens, c.channels() + values_width});
    const std::int64_t current = values_width - c.delayed;
    dz = fused.slice(1, 0, c.channels());
    if (current > 0) dv_cur = fused.slice(1, c.channels(), current);
    if (c.delayed > 0) dv_del = fused.slice(1, c.channels() + current, c.delayed);
    if (c.switches.norm) dtemp = b.zeros(type, {c.groups});
    if (w0.defined()) {
      dw0 = b.zeros(type, {c.taps0, c.channels()});
      db0 = b.zeros(type, {c.channels()});
    }
    if (w1.defined()) {
      dw1 = b.zeros(type, {c.heads + c.groups, c.taps1 * c.width, c.width});
      db1 = b.zeros(type, {c.heads + c.groups, c.width});
    }
  }

  /// Cuts the rows into chunks; each one's halo is what lies before it, NaN before the sequence.
  void cut(Buffers& b, std::int64_t rows) {
    chunk = rows;
    const std::int64_t chunks = c.tokens() / rows;
    if (c.halo() > 0) {
      halo_z = b.poisoned(type, {chunks, c.halo(), c.channels()});
      dhalo_z = b.poisoned(type, {chunks, c.halo(), c.channels()});
      each_halo([&](std::int64_t column, std::int64_t row) {
        for (std::int64_t i = 0; row >= 0 && i < c.channels(); ++i) {
          set(halo_z, column * c.channels() + i, get(z, row * c.channels() + i));
        }
      });
    }
    if (c.delayed > 0) {
      halo_v = b.poisoned(type, {chunks, c.delayed});
      dhalo_v = b.poisoned(type, {chunks, c.delayed});
      for (std::int64_t i = c.delayed; i < halo_v.numel(); ++i) {
        const std::int64_t row = i / c.delayed * rows - 1;
        set(halo_v, i, get(v_del, row * c.delayed + i % c.delayed));
      }
    }
  }

  /// Calls body(halo column counted over all chunks, row of the sequence it comes from).
  template <class Body>
  void each_halo(Body&& body) const {
    for (std::int64_t i = 0; i < c.tokens() / chunk * c.halo(); ++i) {
      body(i, i / c.halo() * chunk - c.halo() + i % c.halo());
    }
  }

  /// Adds the halos' gradients where the halos came from.
  void add_halo_gradients() {
    each_halo([&](std::int64_t column, std::int64_t row) {
      for (std::int64_t i = 0; i < c.channels(); ++i) {
        const double gradient = get(dhalo_z, column * c.channels() + i);
        if (row < 0) {
          EXPECT_EQ(gradient, 0.0) << "before the sequence";
        } else {
          set(dz, row * c.channels() + i, get(dz, row * c.channels() + i) + gradient);
        }
      }
    });
    for (std::int64_t i = 0; c.delayed > 0 && i < dhalo_v.numel(); ++i) {
      const std::int64_t row = i / c.delayed * chunk - 1;
      const std::int64_t at = row * c.delayed + i % c.delayed;
      if (row < 0) {
        EXPECT_EQ(get(dhalo_v, i), 0.0) << "before the sequence";
      } else {
        set(dv_del, at, get(dv_del, at) + get(dhalo_v, i));
      }
    }
  }

  CcaMixFwd forward() const {
    return {.z = z,
            .v_cur = v_cur,
            .v_del = v_del,
            .w0 = w0,
            .b0 = b0,
            .w1 = w1,
            .b1 = b1,
            .temp = temp,
            .positions = positions,
            .doc_pos = doc_pos,
            .halo_z = halo_z,
            .halo_v = halo_v,
            .q = q,
            .k = k,
            .v = v,
            .chunk = chunk,
            .switches = c.switches,
            .rope = c.rope};
  }

  CcaMixBwd backward() const {
    return {.dq = dq,
            .dk = dk,
            .dv = dv,
            .z = z,
            .w0 = w0,
            .b0 = b0,
            .w1 = w1,
            .b1 = b1,
            .temp = temp,
            .positions = positions,
            .doc_pos = doc_pos,
            .halo_z = halo_z,
            .dz = dz,
            .dv_cur = dv_cur,
            .dv_del = dv_del,
            .dhalo_z = dhalo_z,
            .dhalo_v = dhalo_v,
            .dw0 = dw0,
            .db0 = db0,
            .dw1 = dw1,
            .db1 = db1,
            .dtemp = dtemp,
            .chunk = chunk,
            .switches = c.switches,
            .rope = c.rope};
  }

  double loss() const {
    run(forward());
    return dot(q, dq) + dot(k, dk) + dot(v, dv);
  }

  std::vector<Tensor> inputs() const {
    return {z, v_cur, v_del, halo_z, halo_v, w0, b0, w1, b1, temp};
  }
  std::vector<Tensor> gradients() const {
    return {dz, dv_cur, dv_del, dhalo_z, dhalo_v, dw0, db0, dw1, db1, dtemp};
  }

  MixCase c;
  DType type;
  std::int64_t chunk;
  Tensor doc_pos, positions, z, v_cur, v_del, halo_z, halo_v, w0, b0, w1, b1, temp;
  Tensor dq, dk, dv, q, k, v;
  Tensor dz, dv_cur, dv_del, dhalo_z, dhalo_v, dw0, db0, dw1, db1, dtemp;
};

/// The layer's equations for one token of an uncut sequence, in T: written from their sums, with a
/// function per quantity, so slow and independent of the op.
template <class T>
class MixReference {
 public:
  explicit MixReference(const Mix& mix) : m_(mix), c_(mix.c), d_(mix.c.width) {}

  /// Channel `ch` of q, k, v after everything.
  std::vector<T> head(std::int64_t t, std::int64_t h) const {
    std::vector<T> y;
    T norm = 0;
    for (std::int64_t i = 0; i < d_; ++i) y.push_back(mixed(t, h, i) + mean(t, h, i));
    for (T x : y) norm += x * x;
    T factor = c_.switches.norm ? std::sqrt(static_cast<T>(d_)) / std::sqrt(norm + T(1e-12)) : T(1);
    if (c_.switches.norm && h >= c_.heads) {
      const T temp = static_cast<T>(get(m_.temp, h - c_.heads));
      factor *= c_.switches.temperature == KeyTemperature::exp ? std::exp(temp) : temp;
    }
    for (T& x : y) x *= factor;
    const std::int64_t pairs = c_.rope.dims / 2;
    for (std::int64_t i = 0; i < pairs; ++i) {
      const double angle = get(m_.positions, t) *
                           std::pow(c_.rope.theta, -2.0 * static_cast<double>(i) / c_.rope.dims);
      const T cosine = static_cast<T>(std::cos(angle)), sine = static_cast<T>(std::sin(angle));
      const T first = y[i], second = y[i + pairs];
      y[i] = first * cosine - second * sine;
      y[i + pairs] = second * cosine + first * sine;
    }
    return y;
  }

  T value(std::int64_t t, std::int64_t channel) const {
    const std::int64_t current = c_.groups * d_ - c_.delayed;
    if (channel < current) return static_cast<T>(get(m_.v_cur, t * current + channel));
    if (get(m_.doc_pos, t) == 0) return 0;
    return static_cast<T>(get(m_.v_del, (t - 1) * c_.delayed + channel - current));
  }

  /// Fills q, k and v of `out`.
  void fill(const Mix& out) const {
    for (std::int64_t t = 0; t < c_.tokens(); ++t) {
      for (std::int64_t h = 0; h < c_.heads + c_.groups; ++h) {
        const std::vector<T> y = head(t, h);
        for (std::int64_t i = 0; i < d_; ++i) {
          if (h < c_.heads) set(out.q, (t * c_.heads + h) * d_ + i, y[i]);
          if (h >= c_.heads) set(out.k, (t * c_.groups + h - c_.heads) * d_ + i, y[i]);
        }
      }
      for (std::int64_t i = 0; i < c_.groups * d_; ++i) {
        set(out.v, t * c_.groups * d_ + i, value(t, i));
      }
    }
  }

 private:
  /// z `back` rows before t, zero before t's document.
  T z(std::int64_t t, std::int64_t back, std::int64_t channel) const {
    if (static_cast<double>(back) > get(m_.doc_pos, t)) return 0;
    return static_cast<T>(get(m_.z, (t - back) * c_.channels() + channel));
  }

  T depthwise(std::int64_t t, std::int64_t back, std::int64_t channel) const {
    T sum = static_cast<T>(get(m_.b0, channel));
    for (std::int64_t i = 0; i < c_.taps0; ++i) {
      sum += static_cast<T>(get(m_.w0, i * c_.channels() + channel)) *
             z(t, back + c_.taps0 - 1 - i, channel);
    }
    return sum;
  }

  T mixed(std::int64_t t, std::int64_t h, std::int64_t out) const {
    if (c_.switches.convs == 0) return z(t, 0, h * d_ + out);
    if (c_.switches.convs == 1) return depthwise(t, 0, h * d_ + out);
    T sum = static_cast<T>(get(m_.b1, h * d_ + out));
    for (std::int64_t j = 0; j < c_.taps1; ++j) {
      for (std::int64_t in = 0; in < d_; ++in) {
        const std::int64_t row = (h * c_.taps1 + j) * d_ + in;
        sum += static_cast<T>(get(m_.w1, row * d_ + out)) *
               depthwise(t, c_.taps1 - 1 - j, h * d_ + in);
      }
    }
    return sum;
  }

  T query_mean(std::int64_t t, std::int64_t h, std::int64_t i) const {
    const std::int64_t key = c_.heads + h / (c_.heads / c_.groups);
    return (z(t, 0, h * d_ + i) + z(t, 0, key * d_ + i)) / T(2);
  }

  T mean(std::int64_t t, std::int64_t h, std::int64_t i) const {
    if (!c_.switches.qk_mean) return 0;
    if (h < c_.heads) return query_mean(t, h, i);
    const std::int64_t size = c_.heads / c_.groups, first = (h - c_.heads) * size;
    T sum = 0;
    for (std::int64_t s = 0; s < size; ++s) sum += query_mean(t, first + s, i);
    return sum / static_cast<T>(size);
  }

  const Mix& m_;
  const MixCase& c_;
  std::int64_t d_;
};

}  // namespace strait::kernels::test
