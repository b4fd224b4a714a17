#pragma once

#include <string>

#include "kernels/activation.h"
#include "kernels/attention.h"
#include "kernels/cca.h"
#include "kernels/clock.h"
#include "kernels/cross_entropy.h"
#include "kernels/depth_average.h"
#include "kernels/elementwise.h"
#include "kernels/embedding.h"
#include "kernels/expert_swiglu.h"
#include "kernels/gemm.h"
#include "kernels/mla.h"
#include "kernels/muon.h"
#include "kernels/norm.h"
#include "kernels/optimizer.h"
#include "kernels/permute.h"
#include "kernels/qk_norm_rope.h"
#include "kernels/residual_scale.h"
#include "kernels/routing.h"
#include "kernels/stream.h"
#include "kernels/wide_linear.h"

// The CUDA backend in f32 and bf16 (statistics in f32): sums run in f32 or wider and in an order
// that the shapes fix, so a launch repeats bit for bit. run() trusts check() and unsupported():
// launch() is the entry. It enqueues on stream.handle of the current device and returns; nothing
// here waits for the device. Throws DeviceError when a launch fails.
namespace strait::kernels::cuda {

/// Why this backend cannot run an op that is well formed (field, limit, got, what to change);
/// empty when it can.
std::string unsupported(const Gemm& op);
std::string unsupported(const GroupedGemm& op);
std::string unsupported(const GroupedGemmWgrad& op);
std::string unsupported(const SymmetricProduct& op);
std::string unsupported(const WideLinearFwd& op);
std::string unsupported(const WideLinearBwd& op);
std::string unsupported(const EmbeddingFwd& op);
std::string unsupported(const EmbeddingBwd& op);
std::string unsupported(const RmsNormFwd& op);
std::string unsupported(const RmsNormBwd& op);
std::string unsupported(const ResidualScaleFwd& op);
std::string unsupported(const ResidualScaleBwd& op);
std::string unsupported(const QkNormRopeFwd& op);
std::string unsupported(const QkNormRopeBwd& op);
std::string unsupported(const MlaAssembleFwd& op);
std::string unsupported(const MlaAssembleBwd& op);
std::string unsupported(const SwigluFwd& op);
std::string unsupported(const SwigluBwd& op);
std::string unsupported(const ExpertSwigluBwd& op);
std::string unsupported(const GeluFwd& op);
std::string unsupported(const GeluBwd& op);
std::string unsupported(const AttentionFwd& op);
std::string unsupported(const AttentionBwd& op);
std::string unsupported(const AttentionMerge& op);
std::string unsupported(const CcaMixFwd& op);
std::string unsupported(const CcaMixBwd& op);
std::string unsupported(const RouteFwd& op);
std::string unsupported(const RouteFraction& op);
std::string unsupported(const RouteLosses& op);
std::string unsupported(const RouteBwd& op);
std::string unsupported(const RouterBiasUpdate& op);
std::string unsupported(const RouterBiasAdamW& op);
std::string unsupported(const DepthAverageFwd& op);
std::string unsupported(const DepthAverageBwd& op);
std::string unsupported(const MoeSort& op);
std::string unsupported(const MoePermute& op);
std::string unsupported(const MoeCombineFwd& op);
std::string unsupported(const MoeCombineBwd& op);
std::string unsupported(const CrossEntropyStats& op);
std::string unsupported(const CrossEntropyMerge& op);
std::string unsupported(const CrossEntropyLoss& op);
std::string unsupported(const CrossEntropyBwd& op);
std::string unsupported(const CrossEntropyRows& op);
std::string unsupported(const AdamW& op);
std::string unsupported(const SumSquares& op);
std::string unsupported(const ClipScale& op);
std::string unsupported(const StepGuard& op);
std::string unsupported(const MuonMomentum& op);
std::string unsupported(const FrobeniusScale& op);
std::string unsupported(const NewtonSchulzFactor& op);
std::string unsupported(const MuonUpdate& op);
std::string unsupported(const EvenOffsets& op);
std::string unsupported(const Fill& op);
std::string unsupported(const Add& op);
std::string unsupported(const Copy& op);
std::string unsupported(const Lap& op);

void run(const Gemm& op, const Stream& stream);
void run(const GroupedGemm& op, const Stream& stream);
void run(const GroupedGemmWgrad& op, const Stream& stream);
void run(const SymmetricProduct& op, const Stream& stream);
void run(const WideLinearFwd& op, const Stream& stream);
void run(const WideLinearBwd& op, const Stream& stream);
void run(const EmbeddingFwd& op, const Stream& stream);
void run(const EmbeddingBwd& op, const Stream& stream);
void run(const RmsNormFwd& op, const Stream& stream);
void run(const RmsNormBwd& op, const Stream& stream);
void run(const ResidualScaleFwd& op, const Stream& stream);
void run(const ResidualScaleBwd& op, const Stream& stream);
void run(const QkNormRopeFwd& op, const Stream& stream);
void run(const QkNormRopeBwd& op, const Stream& stream);
void run(const MlaAssembleFwd& op, const Stream& stream);
void run(const MlaAssembleBwd& op, const Stream& stream);
void run(const SwigluFwd& op, const Stream& stream);
void run(const SwigluBwd& op, const Stream& stream);
void run(const ExpertSwigluBwd& op, const Stream& stream);
void run(const GeluFwd& op, const Stream& stream);
void run(const GeluBwd& op, const Stream& stream);
void run(const AttentionFwd& op, const Stream& stream);
void run(const AttentionBwd& op, const Stream& stream);
void run(const AttentionMerge& op, const Stream& stream);
void run(const CcaMixFwd& op, const Stream& stream);
void run(const CcaMixBwd& op, const Stream& stream);
void run(const RouteFwd& op, const Stream& stream);
void run(const RouteFraction& op, const Stream& stream);
void run(const RouteLosses& op, const Stream& stream);
void run(const RouteBwd& op, const Stream& stream);
void run(const RouterBiasUpdate& op, const Stream& stream);
void run(const RouterBiasAdamW& op, const Stream& stream);
void run(const DepthAverageFwd& op, const Stream& stream);
void run(const DepthAverageBwd& op, const Stream& stream);
void run(const MoeSort& op, const Stream& stream);
void run(const MoePermute& op, const Stream& stream);
void run(const MoeCombineFwd& op, const Stream& stream);
void run(const MoeCombineBwd& op, const Stream& stream);
void run(const CrossEntropyStats& op, const Stream& stream);
void run(const CrossEntropyMerge& op, const Stream& stream);
void run(const CrossEntropyLoss& op, const Stream& stream);
void run(const CrossEntropyBwd& op, const Stream& stream);
void run(const CrossEntropyRows& op, const Stream& stream);
void run(const AdamW& op, const Stream& stream);
void run(const SumSquares& op, const Stream& stream);
void run(const ClipScale& op, const Stream& stream);
void run(const StepGuard& op, const Stream& stream);
void run(const MuonMomentum& op, const Stream& stream);
void run(const FrobeniusScale& op, const Stream& stream);
void run(const NewtonSchulzFactor& op, const Stream& stream);
void run(const MuonUpdate& op, const Stream& stream);
void run(const EvenOffsets& op, const Stream& stream);
void run(const Fill& op, const Stream& stream);
void run(const Add& op, const Stream& stream);
void run(const Copy& op, const Stream& stream);
void run(const Lap& op, const Stream& stream);

}  // namespace strait::kernels::cuda
