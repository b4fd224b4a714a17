#include "kernels/wide_linear.h"

#include "kernels/cpu/run.h"
#include "kernels/elementwise.h"
#include "kernels/gemm.h"

// On the CPU the statistics dtype is the compute dtype.
namespace strait::kernels::cpu {

void run(const WideLinearFwd& op) {
  run(Gemm{.a = op.x, .b = op.w, .c = op.y, .trans_b = true});
  if (op.parts.defined()) run(Copy{.x = op.w, .y = op.parts});
}

void run(const WideLinearBwd& op) {
  run(Gemm{.a = op.dy, .b = op.w, .c = op.dx});
}

}  // namespace strait::kernels::cpu
