#pragma once

#include <cstdint>
#include <vector>

namespace strait::train {

/// Eigenvalues of the symmetric matrix a [n, n], rising: Householder's tridiagonal form, then
/// bisection by Sturm counts (Golub and Van Loan, Matrix Computations, 8.3 and 8.4).
std::vector<double> symmetric_eigenvalues(std::vector<double> a, std::int64_t n);

/// exp of the entropy of the singular values of X, divided by their sum, from its Gram matrix
/// X X^T [n, n] (Roy and Vetterli, The effective rank, 2007): between 1 and the rank of X. 0 when X
/// is 0.
double effective_rank(const std::vector<double>& gram, std::int64_t n);

/// Gram matrix [n, n] of x [n, width], the mean of each column taken off.
std::vector<double> centred_gram(const std::vector<double>& x, std::int64_t n, std::int64_t width);

}  // namespace strait::train
