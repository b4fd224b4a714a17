#pragma once

#include <string>
#include <vector>

namespace strait::golden {

/// The largest error of a group of tensors and whose it is.
struct Worst {
  double error = 0;
  std::string name;
};

/// Relative L2 distances |got - want| / |want| of a group of tensors.
///
/// Some results are zero in exact arithmetic (the router's gradient under one renormalised choice,
/// query gradients in documents of one token) and rounding noise in a reference. So a tensor whose
/// norm is below `resolution` times the largest norm of the group is measured against that largest.
class Comparison {
 public:
  explicit Comparison(double resolution) : resolution_(resolution) {}

  /// A difference that is not a number counts as infinite. Throws InputError on unequal sizes.
  void add(const std::string& name, const std::vector<double>& got,
           const std::vector<double>& want);
  Worst worst() const;

 private:
  struct Entry {
    std::string name;
    double difference, norm;
  };
  double resolution_;
  std::vector<Entry> entries_;
};

}  // namespace strait::golden
