#pragma once

// Student's t distribution with whole degrees of freedom, which is all that means over seeds need.
// The finite series of Abramowitz and Stegun, 26.7.3 and 26.7.4; no approximation but rounding.
namespace strait::ablate {

/// P(|T| >= |t|) with `dof` >= 1 degrees of freedom; about 1e-15 absolute. 0 for an infinite t.
double two_sided_p(double t, int dof);

/// The x with P(T <= x) = p, for 0 < p < 1 and `dof` >= 1; relative error about 1e-9 for tails down
/// to 1e-6. Throws core::InputError outside these ranges.
double student_t_quantile(double p, int dof);

}  // namespace strait::ablate
