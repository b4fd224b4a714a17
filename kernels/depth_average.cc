#include "kernels/depth_average.h"

#include "kernels/bytes.h"

namespace strait::kernels {
namespace {

void check_together(const Checker& c, const char* field, const ConstTensor& t,
                    const ConstTensor& previous) {
  c.that(t.defined() == previous.defined(), field,
         ": must be present exactly when previous is; set both or neither");
}

}  // namespace

void check(const DepthAverageFwd& op) {
  const Checker c(DepthAverageFwd::kName);
  c.shape("x", op.x, {Checker::kAny, Checker::kAny});
  const std::int64_t tokens = op.x.shape[0], width = op.x.shape[1];
  c.shape("bias", op.bias, {width});
  c.optional_shape("previous", op.previous, {tokens, width});
  c.optional_shape("gamma", op.gamma, {width});
  check_together(c, "gamma", op.gamma, op.previous);
  c.shape("y", op.y, {tokens, width});
  c.compute_dtype("x", op.x);
  c.wide_dtype("bias", op.bias, op.x.dtype);
  c.dtype("previous", op.previous, op.x.dtype);
  c.wide_dtype("gamma", op.gamma, op.x.dtype);
  c.dtype("y", op.y, op.x.dtype);
  c.same_or_disjoint("y", op.y, "x", op.x);
  c.disjoint("y", op.y, "previous", op.previous);
  c.disjoint("y", op.y, "bias", op.bias);
  c.disjoint("y", op.y, "gamma", op.gamma);
}

void check(const DepthAverageBwd& op) {
  const Checker c(DepthAverageBwd::kName);
  c.shape("dy", op.dy, {Checker::kAny, Checker::kAny});
  const std::int64_t tokens = op.dy.shape[0], width = op.dy.shape[1];
  c.optional_shape("previous", op.previous, {tokens, width});
  c.optional_shape("gamma", op.gamma, {width});
  c.optional_shape("dprevious", op.dprevious, {tokens, width});
  c.shape("dbias", op.dbias, {width});
  c.optional_shape("dgamma", op.dgamma, {width});
  check_together(c, "gamma", op.gamma, op.previous);
  check_together(c, "dprevious", op.dprevious, op.previous);
  check_together(c, "dgamma", op.dgamma, op.previous);
  c.compute_dtype("dy", op.dy);
  c.dtype("previous", op.previous, op.dy.dtype);
  c.wide_dtype("gamma", op.gamma, op.dy.dtype);
  c.dtype("dprevious", op.dprevious, op.dy.dtype);
  c.wide_dtype("dbias", op.dbias, op.dy.dtype);
  c.wide_dtype("dgamma", op.dgamma, op.dy.dtype);
  c.same_or_disjoint("dprevious", op.dprevious, "dy", op.dy);
  c.disjoint("dprevious", op.dprevious, "previous", op.previous);
  c.disjoint("dprevious", op.dprevious, "gamma", op.gamma);
  c.disjoint("dgamma", op.dgamma, "gamma", op.gamma);
}

Work work(const DepthAverageFwd& op) {
  return {0, bytes_of({op.x, op.bias, op.previous, op.gamma, op.y})};
}

Work work(const DepthAverageBwd& op) {
  return {0, bytes_of({op.dy, op.previous, op.gamma, op.dprevious, op.dbias, op.dbias, op.dgamma,
                       op.dgamma})};
}

}  // namespace strait::kernels
