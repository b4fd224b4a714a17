#include "ablate/student_t.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>

#include "core/error.h"

namespace strait::ablate {

double two_sided_p(double t, int dof) {
  const double theta = std::atan(std::abs(t) / std::sqrt(dof));
  const double cosine = std::cos(theta), sine = std::sin(theta);
  const bool odd = dof % 2 == 1;
  // Terms cos^(k+2) = cos^k * cos^2 * k+... of the series, from cos (odd) or 1 (even).
  double term = odd ? cosine : 1.0, sum = 0;
  for (int k = odd ? 3 : 2; k <= dof; k += 2) {
    sum += term;
    term *= cosine * cosine * (k - 1) / k;
  }
  const double inside = odd ? (theta + sine * sum) * 2 / std::numbers::pi : sine * sum;
  return std::clamp(1 - inside, 0.0, 1.0);
}

double student_t_quantile(double p, int dof) {
  if (!(p > 0 && p < 1) || dof < 1) {
    throw core::InputError("Student's t: p = " + std::to_string(p) + " with " +
                           std::to_string(dof) +
                           " degrees of freedom; expected 0 < p < 1 and at least 1 degree");
  }
  const double tails = 2 * std::min(p, 1 - p);
  double low = 0, high = 1;
  while (two_sided_p(high, dof) > tails) high *= 2;
  for (int i = 0; i < 200 && high - low > 1e-14 * high; ++i) {
    const double middle = 0.5 * (low + high);
    (two_sided_p(middle, dof) > tails ? low : high) = middle;
  }
  return p < 0.5 ? -high : high;
}

}  // namespace strait::ablate
