#include "optim/newton_schulz.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "tests/support/tensors.h"

namespace strait::optim {
namespace {

using config::NewtonSchulz;
using test::get;
using test::set;

constexpr NewtonSchulz kKinds[] = {NewtonSchulz::original, NewtonSchulz::five_step,
                                   NewtonSchulz::polar_express};

/// What the steps make of a singular value.
double after(const std::array<Quintic, 5>& steps, double s) {
  for (const auto& [a, b, c] : steps) s = a * s + b * s * s * s + c * s * s * s * s * s;
  return s;
}

/// The farthest from 1 that singular values of [low, high] end.
double bound(const std::array<Quintic, 5>& steps, double low, double high) {
  double worst = 0;
  for (int i = 0; i <= 20000; ++i) {
    worst = std::max(worst, std::abs(after(steps, low + (high - low) * i / 20000.0) - 1));
  }
  return worst;
}

using Rows = std::vector<std::vector<double>>;

/// The rows of a wide matrix, turned in pairs until each is orthogonal to the others (one-sided
/// Jacobi, Hestenes 1958): rows become s_i v_i, and `turns` the orthogonal matrix with a = turns^T
/// rows, whose columns are the u_i.
struct Svd {
  explicit Svd(Rows matrix) : rows(std::move(matrix)), turns(rows.size()) {
    for (std::size_t i = 0; i < rows.size(); ++i) {
      turns[i].assign(rows.size(), 0);
      turns[i][i] = 1;
    }
    for (int sweep = 0; sweep < 15; ++sweep) {
      for (std::size_t p = 0; p < rows.size(); ++p) {
        for (std::size_t q = p + 1; q < rows.size(); ++q) turn(p, q);
      }
    }
  }

  double singular(std::size_t i) const { return std::sqrt(product(rows[i], rows[i])); }

  static double product(const std::vector<double>& a, const std::vector<double>& b) {
    double sum = 0;
    for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
    return sum;
  }

  void turn(std::size_t p, std::size_t q) {
    const double pp = product(rows[p], rows[p]), qq = product(rows[q], rows[q]),
                 pq = product(rows[p], rows[q]);
    if (pq == 0) return;
    const double angle = 0.5 * std::atan2(2 * pq, pp - qq);
    for (Rows* both : {&rows, &turns}) {
      for (std::size_t i = 0; i < (*both)[p].size(); ++i) {
        const double a = (*both)[p][i], b = (*both)[q][i];
        (*both)[p][i] = std::cos(angle) * a + std::sin(angle) * b;
        (*both)[q][i] = std::cos(angle) * b - std::sin(angle) * a;
      }
    }
  }

  Rows rows, turns;
};

/// One matrix [R, C], on its side if it is tall.
Rows wide_rows(const Tensor& matrix) {
  const std::int64_t r = matrix.shape[1], c = matrix.shape[2];
  const bool tall = r > c;
  Rows rows(std::min(r, c), std::vector<double>(std::max(r, c)));
  for (std::int64_t i = 0; i < r * c; ++i) {
    (tall ? rows[i % c][i / c] : rows[i / c][i % c]) = get(matrix, i);
  }
  return rows;
}

/// orthogonalise() of a batch on the CPU, in place of the copy it is given.
Tensor run(const Tensor& u, const Tensor& other, NewtonSchulz kind) {
  core::Arena scratch("scratch");
  orthogonalise(u, other, quintics(kind), scratch, {.device = Device::plan});
  scratch.allocate(Device::cpu);
  return orthogonalise(u, other, quintics(kind), scratch, Stream{});
}

/// The singular vectors must stay, each singular value must become what the polynomials make of it,
/// and the whole must be as near to U V^T as the polynomials can bring it. Rounding, a few units of
/// the norm 1, grows by the largest slope of the steps.
void expect_orthogonalised(const Tensor& before, const Tensor& after_steps, NewtonSchulz kind) {
  const std::array<Quintic, 5>& steps = quintics(kind);
  const Svd svd(wide_rows(before));
  const Rows got = wide_rows(after_steps);
  double norm = 0, low = 1, high = 0, slope = 1;
  for (std::size_t i = 0; i < svd.rows.size(); ++i) norm += std::pow(svd.singular(i), 2);
  norm = std::sqrt(norm) + 1e-7;
  for (const Quintic& step : steps) slope *= step.a;
  double from_steps = 0, from_polar = 0;
  for (std::size_t r = 0; r < got.size(); ++r) {
    for (std::size_t c = 0; c < got[r].size(); ++c) {
      double want = 0, polar = 0;
      for (std::size_t i = 0; i < svd.rows.size(); ++i) {
        const double s = svd.singular(i), uv = svd.turns[i][r] * svd.rows[i][c] / s;
        want += after(steps, s / norm) * uv;
        polar += uv;
        low = std::min(low, s / norm);
        high = std::max(high, s / norm);
      }
      from_steps += std::pow(got[r][c] - want, 2);
      from_polar += std::pow(got[r][c] - polar, 2);
    }
  }
  const double unit = before.dtype == DType::f64 ? std::numeric_limits<double>::epsilon()
                                                 : std::numeric_limits<float>::epsilon();
  const double rounding = 4 * slope * unit;
  const double values = static_cast<double>(got.size());
  EXPECT_LE(std::sqrt(from_steps), rounding);
  EXPECT_LE(std::sqrt(from_polar), bound(steps, low, high) * std::sqrt(values) + rounding);
}

TEST(NewtonSchulz, FollowsTheSingularValueDecomposition) {
  const std::int64_t shapes[][3] = {{1, 6, 9},  {1, 9, 6}, {3, 5, 5}, {3, 4, 7},
                                    {3, 17, 4}, {2, 1, 5}, {2, 5, 1}, {1, 48, 80}};
  for (const NewtonSchulz kind : kKinds) {
    for (const DType dtype : {DType::f64, DType::f32}) {
      for (const auto& [n, r, c] : shapes) {
        SCOPED_TRACE(testing::Message() << n << " x " << r << " x " << c << " " << name_of(dtype));
        test::Buffers b;
        const Tensor u = b.normal(dtype, {n, r, c}), before = b.converted(u, dtype);
        const Tensor result = run(u, b.poisoned(dtype, {n, r, c}), kind);
        for (std::int64_t i = 0; i < n; ++i) {
          expect_orthogonalised(before.slice(0, i, 1), result.slice(0, i, 1), kind);
        }
      }
    }
  }
}

TEST(NewtonSchulz, ZeroStaysZeroBesideOthers) {
  test::Buffers b;
  const Tensor u = b.normal(DType::f64, {2, 3, 4});
  for (std::int64_t i = 0; i < 12; ++i) set(u, i, 0);
  const Tensor result = run(u, b.poisoned(DType::f64, {2, 3, 4}), NewtonSchulz::original);
  for (std::int64_t i = 0; i < 12; ++i) EXPECT_EQ(get(result, i), 0);
  EXPECT_GT(test::dot(result.slice(0, 1, 1), result.slice(0, 1, 1)), 1);
}

// Each table's own figure to two digits, from a scan in NumPy; a wrong digit would break it.
TEST(NewtonSchulz, CoefficientsBringSingularValuesNearOne) {
  const std::tuple<NewtonSchulz, double, double> limits[] = {
      {NewtonSchulz::original, 0.01, 0.32},
      {NewtonSchulz::five_step, 0.01, 0.033},
      {NewtonSchulz::polar_express, 0.01, 0.13}};
  for (const auto& [kind, low, limit] : limits) {
    EXPECT_LE(bound(quintics(kind), low, 1), limit) << static_cast<int>(kind);
  }
}

}  // namespace
}  // namespace strait::optim
