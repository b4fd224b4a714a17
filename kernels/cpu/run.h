#pragma once

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
#include "kernels/wide_linear.h"

// The CPU backend: the executable specification, in float and double. Blocking; OpenMP inside.
// run() trusts check(): launch() is the entry.
namespace strait::kernels::cpu {

void run(const Gemm& op);
void run(const GroupedGemm& op);
void run(const GroupedGemmWgrad& op);
void run(const SymmetricProduct& op);
void run(const WideLinearFwd& op);
void run(const WideLinearBwd& op);
void run(const EmbeddingFwd& op);
void run(const EmbeddingBwd& op);
void run(const RmsNormFwd& op);
void run(const RmsNormBwd& op);
void run(const ResidualScaleFwd& op);
void run(const ResidualScaleBwd& op);
void run(const QkNormRopeFwd& op);
void run(const QkNormRopeBwd& op);
void run(const MlaAssembleFwd& op);
void run(const MlaAssembleBwd& op);
void run(const SwigluFwd& op);
void run(const SwigluBwd& op);
void run(const ExpertSwigluBwd& op);
void run(const GeluFwd& op);
void run(const GeluBwd& op);
void run(const AttentionFwd& op);
void run(const AttentionBwd& op);
void run(const AttentionMerge& op);
void run(const CcaMixFwd& op);
void run(const CcaMixBwd& op);
void run(const RouteFwd& op);
void run(const RouteFraction& op);
void run(const RouteLosses& op);
void run(const RouteBwd& op);
void run(const RouterBiasUpdate& op);
void run(const RouterBiasAdamW& op);
void run(const DepthAverageFwd& op);
void run(const DepthAverageBwd& op);
void run(const MoeSort& op);
void run(const MoePermute& op);
void run(const MoeCombineFwd& op);
void run(const MoeCombineBwd& op);
void run(const CrossEntropyStats& op);
void run(const CrossEntropyMerge& op);
void run(const CrossEntropyLoss& op);
void run(const CrossEntropyBwd& op);
void run(const CrossEntropyRows& op);
void run(const AdamW& op);
void run(const SumSquares& op);
void run(const ClipScale& op);
void run(const StepGuard& op);
void run(const MuonMomentum& op);
void run(const FrobeniusScale& op);
void run(const NewtonSchulzFactor& op);
void run(const MuonUpdate& op);
void run(const EvenOffsets& op);
void run(const Fill& op);
void run(const Add& op);
void run(const Copy& op);
void run(const Lap& op);

}  // namespace strait::kernels::cpu
