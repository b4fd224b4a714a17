#include "kernels/gemm.h"

#include "kernels/cuda/context.h"
#include "kernels/cuda/run.h"
#include "kernels/cuda/support.h"

namespace strait::kernels::cuda {

std::string unsupported(const Gemm& op) {
  if (std::string why = unsupported_compute("a", op.a); !why.empty()) return why;
  if (op.bias.defined() && op.bias.dtype != op.c.dtype) {
    return "bias: the CUDA backend needs the dtype of c, " + op.c.shape_string() + ", got " +
           op.bias.shape_string() + "; convert it with Copy";
  }
  if (op.bias.defined() && op.a.shape[op.trans_a ? 0 : 1] == 0) {
    return "a: K = 0 together with a bias; copy the bias into c instead";
  }
  return {};
}

void run(const Gemm& op, const Stream& stream) {
  const GemmShape shape(op);
  if (shape.m == 0 || shape.n == 0) return;
  if (shape.k == 0) {
    if (!op.accumulate) run(Fill{.x = op.c, .value = 0}, stream);
    return;
  }
  Context& context = Context::current();
  context.plan(shape).run(context.cublas(), op, context.workspace(stream, Context::kWorkspace),
                          handle_of(stream));
}

}  // namespace strait::kernels::cuda
