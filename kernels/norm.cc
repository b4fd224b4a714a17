#include "kernels/norm.h"

#include <utility>

#include "kernels/bytes.h"

namespace strait::kernels {

namespace {

void check_scales(const Checker& c, const RmsNormFwd& op) {
  const std::int64_t width = op.y.shape[1];
  const SumScales& scales = op.scales;
  const bool scaled = scales.x_scale.defined();
  const std::pair<const char*, ConstTensor> vectors[] = {{"scales.x_scale", scales.x_scale},
                                                         {"scales.x_bias", scales.x_bias},
                                                         {"scales.delta_scale", scales.delta_scale},
                                                         {"scales.delta_bias", scales.delta_bias}};
  for (const auto& [field, vector] : vectors) {
    c.that(vector.defined() == scaled, field, ": must be present together; set all or none");
    c.optional_shape(field, vector, {width});
    c.wide_dtype(field, vector, op.y.dtype);
    c.disjoint("sum", op.sum, field, vector);
  }
  c.dtype("scales.x_bias", scales.x_bias, scales.x_scale.dtype);
  c.dtype("scales.delta_bias", scales.delta_bias, scales.delta_scale.dtype);
  c.that(!scaled || op.delta.defined(), "scales: expected a delta; there is no sum without");
}

void check_experts(const Checker& c, const RmsNormFwd& op) {
  const ExpertRows& experts = op.experts;
  if (!experts.rows.defined()) return;
  const std::int64_t tokens = op.y.shape[0];
  c.shape("experts.row_of", experts.row_of, {tokens, Checker::kAny});
  const std::int64_t chosen = experts.row_of.shape[1];
  c.shape("experts.rows", experts.rows, {tokens * chosen, op.y.shape[1]});
  c.shape("experts.weight", experts.weight, {tokens, chosen});
  c.dtype("experts.rows", experts.rows, op.y.dtype);
  c.dtype("experts.row_of", experts.row_of, DType::i32);
  c.dtype("experts.weight", experts.weight, stat_dtype(op.y.dtype));
  c.contiguous("experts.row_of", experts.row_of);
  c.contiguous("experts.weight", experts.weight);
  c.that(!op.scales.x_scale.defined(), "experts: not allowed with scales; use MoeCombineFwd");
  c.disjoint("sum", op.sum, "experts.rows", experts.rows);
  c.disjoint("y", op.y, "experts.rows", experts.rows);
}

}  // namespace

void check(const RmsNormFwd& op) {
  const Checker c(RmsNormFwd::kName);
  c.shape("x", op.x, {Checker::kAny, Checker::kAny});
  const std::int64_t tokens = op.x.shape[0], width = op.x.shape[1];
  c.optional_shape("delta", op.delta, {tokens, width});
  c.shape("w", op.w, {width});
  c.that(op.sum.defined() == (op.delta.defined() || op.experts.rows.defined()),
         "sum: must be present exactly when delta or experts are; set both or neither");
  c.optional_shape("sum", op.sum, {tokens, width});
  c.shape("y", op.y, {tokens, width});
  c.shape("rstd", op.rstd, {tokens});
  c.compute_dtype("y", op.y);
  c.wide_dtype("x", op.x, op.y.dtype);
  c.dtype("delta", op.delta, op.y.dtype);
  c.wide_dtype("w", op.w, op.y.dtype);
  c.dtype("sum", op.sum, op.x.dtype);
  c.dtype("rstd", op.rstd, stat_dtype(op.y.dtype));
  c.same_or_disjoint("sum", op.sum, "x", op.x);
  c.same_or_disjoint("sum", op.sum, "delta", op.delta);
  c.disjoint("sum", op.sum, "w", op.w);
  c.disjoint("y", op.y, "x", op.x);
  c.disjoint("y", op.y, "delta", op.delta);
  c.disjoint("y", op.y, "w", op.w);
  c.disjoint("y", op.y, "sum", op.sum);
  c.disjoint("y", op.y, "rstd", op.rstd);
  check_scales(c, op);
  check_experts(c, op);
}

void check(const RmsNormBwd& op) {
  const Checker c(RmsNormBwd::kName);
  c.shape("dy", op.dy, {Checker::kAny, Checker::kAny});
  const std::int64_t tokens = op.dy.shape[0], width = op.dy.shape[1];
  c.shape("s", op.s, {tokens, width});
  c.shape("w", op.w, {width});
  c.shape("rstd", op.rstd, {tokens});
  c.optional_shape("dresidual", op.dresidual, {tokens, width});
  c.shape("dx", op.dx, {tokens, width});
  c.shape("dw", op.dw, {width});
  c.compute_dtype("dy", op.dy);
  c.wide_dtype("s", op.s, op.dy.dtype);
  c.wide_dtype("w", op.w, op.dy.dtype);
  c.dtype("rstd", op.rstd, stat_dtype(op.dy.dtype));
  c.dtype("dresidual", op.dresidual, op.dy.dtype);
  c.dtype("dx", op.dx, op.dy.dtype);
  c.wide_dtype("dw", op.dw, op.dy.dtype);
  c.same_or_disjoint("dx", op.dx, "dresidual", op.dresidual);
  c.disjoint("dx", op.dx, "dy", op.dy);
  c.disjoint("dx", op.dx, "s", op.s);
  c.disjoint("dx", op.dx, "w", op.w);
  c.disjoint("dx", op.dx, "dw", op.dw);
  c.disjoint("dw", op.dw, "dy", op.dy);
  c.disjoint("dw", op.dw, "s", op.s);
  c.disjoint("dw", op.dw, "w", op.w);
}

Work work(const RmsNormFwd& op) {
  const SumScales& scales = op.scales;
  const ExpertRows& experts = op.experts;
  return {0, bytes_of({op.x, op.delta, op.w, scales.x_scale, scales.x_bias, scales.delta_scale,
                       scales.delta_bias, experts.rows, experts.row_of, experts.weight, op.sum,
                       op.y, op.rstd})};
}

Work work(const RmsNormBwd& op) {
  return {0, bytes_of({op.dy, op.s, op.w, op.rstd, op.dresidual, op.dx, op.dw, op.dw})};
}

}  // namespace strait::kernels
