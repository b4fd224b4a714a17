#include "kernels/launch.h"

#include <type_traits>

#include "kernels/cpu/run.h"
#include "kernels/hopper.h"
#include "kernels/profile.h"
#ifdef STRAIT_CUDA
#include "kernels/cuda/run.h"
#endif

namespace strait::kernels {
namespace {

/// Work of an op: its own formula where it has one, else unknown (zero).
template <class Op>
Work work_of(const Op& op, Device device) {
  if constexpr (requires { work(op, device); }) {
    return work(op, device);
  } else if constexpr (requires { work(op); }) {
    return work(op);
  } else {
    return Work{};
  }
}

template <class Op>
void tell(const Op& op, const Stream& stream) {
  if constexpr (std::is_same_v<Op, Gemm>) stream.observer->on_product(op);
  const char* name = Op::kName;
  if constexpr (requires { takes_general_kernel(op); }) {
    static const std::string general = std::string(Op::kName) + kGeneral;
    if (takes_general_kernel(op)) name = general.c_str();
  }
  stream.observer->on_launch(name, work_of(op, stream.device));
}

template <class Op>
void run_cuda([[maybe_unused]] const Op& op, [[maybe_unused]] const Stream& stream) {
#ifdef STRAIT_CUDA
  const std::string why = cuda::unsupported(op);
  if (!why.empty()) throw OpError(std::string(Op::kName) + ": " + why);
  const Range range(Op::kName);
  cuda::run(op, stream);
#else
  throw OpError(std::string(Op::kName) +
                ": this build has no CUDA backend; set run.device to cpu or configure with CUDA");
#endif
}

}  // namespace

template <class Op>
void launch(const Op& op, const Stream& stream) {
  check(op);
  if (stream.observer) tell(op, stream);
  switch (stream.device) {
    case Device::plan:
      return;
    case Device::cpu:
      return cpu::run(op);
    case Device::cuda:
      return run_cuda(op, stream);
  }
}

template void launch(const Gemm&, const Stream&);
template void launch(const GroupedGemm&, const Stream&);
template void launch(const GroupedGemmWgrad&, const Stream&);
template void launch(const SymmetricProduct&, const Stream&);
template void launch(const WideLinearFwd&, const Stream&);
template void launch(const WideLinearBwd&, const Stream&);
template void launch(const EmbeddingFwd&, const Stream&);
template void launch(const EmbeddingBwd&, const Stream&);
template void launch(const RmsNormFwd&, const Stream&);
template void launch(const RmsNormBwd&, const Stream&);
template void launch(const ResidualScaleFwd&, const Stream&);
template void launch(const ResidualScaleBwd&, const Stream&);
template void launch(const QkNormRopeFwd&, const Stream&);
template void launch(const QkNormRopeBwd&, const Stream&);
template void launch(const MlaAssembleFwd&, const Stream&);
template void launch(const MlaAssembleBwd&, const Stream&);
template void launch(const SwigluFwd&, const Stream&);
template void launch(const SwigluBwd&, const Stream&);
template void launch(const ExpertSwigluBwd&, const Stream&);
template void launch(const GeluFwd&, const Stream&);
template void launch(const GeluBwd&, const Stream&);
template void launch(const AttentionFwd&, const Stream&);
template void launch(const AttentionBwd&, const Stream&);
template void launch(const AttentionMerge&, const Stream&);
template void launch(const CcaMixFwd&, const Stream&);
template void launch(const CcaMixBwd&, const Stream&);
template void launch(const RouteFwd&, const Stream&);
template void launch(const RouteFraction&, const Stream&);
template void launch(const RouteLosses&, const Stream&);
template void launch(const RouteBwd&, const Stream&);
template void launch(const RouterBiasUpdate&, const Stream&);
template void launch(const RouterBiasAdamW&, const Stream&);
template void launch(const DepthAverageFwd&, const Stream&);
template void launch(const DepthAverageBwd&, const Stream&);
template void launch(const MoeSort&, const Stream&);
template void launch(const MoePermute&, const Stream&);
template void launch(const MoeCombineFwd&, const Stream&);
template void launch(const MoeCombineBwd&, const Stream&);
template void launch(const CrossEntropyStats&, const Stream&);
template void launch(const CrossEntropyMerge&, const Stream&);
template void launch(const CrossEntropyLoss&, const Stream&);
template void launch(const CrossEntropyBwd&, const Stream&);
template void launch(const CrossEntropyRows&, const Stream&);
template void launch(const AdamW&, const Stream&);
template void launch(const SumSquares&, const Stream&);
template void launch(const ClipScale&, const Stream&);
template void launch(const StepGuard&, const Stream&);
template void launch(const MuonMomentum&, const Stream&);
template void launch(const FrobeniusScale&, const Stream&);
template void launch(const NewtonSchulzFactor&, const Stream&);
template void launch(const MuonUpdate&, const Stream&);
template void launch(const EvenOffsets&, const Stream&);
template void launch(const Fill&, const Stream&);
template void launch(const Add&, const Stream&);
template void launch(const Copy&, const Stream&);
template void launch(const Lap&, const Stream&);

}  // namespace strait::kernels
