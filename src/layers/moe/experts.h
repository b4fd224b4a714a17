#pragma once

#include <string>

#include "layers/layer.h"

namespace strait::layers {

/// Rows sorted by expert: `offsets` [E + 1] i32 says which rows belong to which expert.
/// Each expert is a SwiGLU feed-forward of hidden width F; the weights of all are one tensor. A
/// rank holds E / ep experts or, without expert ranks, F / tp of each; then y and dx are terms of
/// sums over tensor ranks.
class Experts {
 public:
  Experts(const Build& build, const std::string& name);

  /// Where results go: y[to[r]] = scale[to[r]] times row r's, or += with `add`; to and scale may be
  /// absent.
  struct Results {
    Tensor y;
    ConstTensor to = {}, scale = {};
    bool add = false;
  };
  /// Rows that lie from `first` on among those that are kept.
  struct Part {
    ConstTensor offsets;
    std::int64_t first = 0;
  };
  /// x, y [N, D]. Keeps the hidden activations; x is the caller's to keep or to rebuild.
  void forward(Ctx& ctx, ConstTensor x, ConstTensor offsets, const Results& results);
  /// dx assigned; x as in forward.
  void backward(Ctx& ctx, ConstTensor x, ConstTensor dy, ConstTensor offsets, Tensor dx);

  /// Both in parts. Room for the hidden activations of `rows` rows in all; then forward of a part.
  void keep(Ctx& ctx, DType dtype, std::int64_t rows);
  void run(Ctx& ctx, ConstTensor x, const Part& part, const Results& results) const;
  /// The halves of backward: dgate_up [N, 2F] and dx, assigned; the weights' gradients.
  void backward_rows(Ctx& ctx, ConstTensor dy, const Part& part, Tensor dgate_up, Tensor dx) const;
  void backward_weights(Ctx& ctx, ConstTensor x, ConstTensor dy, ConstTensor dgate_up,
                        const Part& part) const;

  /// The backward where rows were weighted by choice: dy are the gradients of the weighted rows.
  /// First dgate_up [N, 2F] and dweight [T, K], assigned, and the weights' gradients; then
  /// dx[to[r]] = row r's + rows[r] matrix or, without such a term, += row r's.
  void backward_weighted(Ctx& ctx, ConstTensor x, ConstTensor dy, ConstTensor offsets,
                         ConstTensor choice_of, ConstTensor weight, Tensor dgate_up,
                         Tensor dweight);
  struct MoreInput {
    ConstTensor rows = {}, matrix = {};  // [N, J], [J, D]
  };
  void input_gradient(Ctx& ctx, ConstTensor dgate_up, ConstTensor offsets, ConstTensor to,
                      const MoreInput& more, Tensor dx) const;
  std::int64_t width() const { return width_; }

 private:
  std::int64_t width_;
  core::Param& gate_up_;  // [E, 2F, D]
  core::Param& down_;     // [E, D, F]
  struct {
    Tensor gate_up;  // [N, 2F]
    Tensor hidden;   // [N, F]
  } saved_;
};

}  // namespace strait::layers
