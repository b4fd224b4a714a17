#pragma once

#include "core/arena.h"
#include "core/tensor.h"
#include "parallel/decode_cache.h"
#include "parallel/lane.h"
#include "parallel/mesh.h"
#include "parallel/peers.h"
#include "parallel/phase_clock.h"
#include "parallel/probe.h"
#include "parallel/sequence_shard.h"

namespace strait::parallel {

class GradSync;

/// Why a forward runs. `recompute` repeats a training forward: it saves, but counts nothing again.
enum class Pass : std::uint8_t { train, recompute, eval };

/// Factors that turn sums of this rank's micro-batch into its share of the step's mean loss.
struct LossScale {
  ConstTensor per_token = {};  // [1] f64 on the device: 1 / (counted labels of the whole optimizer
                               // step), which changes from step to step; absent: 1
  double per_sequence = 1.0;   // 1 / (sequences of the whole optimizer step)
};

/// States that routers with depth averaging hand on from mixture to mixture
/// (layers/moe/mlp_scorer.h). They stay from forward to backward, under recomputation too.
struct DepthStates {
  Tensor states = {};    // [mixtures, T, R] statistics dtype; undefined without averaging
  Tensor gradient = {};  // [T, R] in backward: of the state that the router at work left behind
  Tensor state(std::int64_t mixture) const {
    return states.slice(0, mixture, 1).view({states.shape[1], states.shape[2]});
  }
};

/// What every forward and backward gets handed. Owns nothing.
///  saved    activations from forward to backward of one micro-batch
///  scratch  freed when the function that took it returns
///  state    sums and counts of one optimizer step, taken in Layer::begin_step
struct Ctx {
  Stream stream;
  Groups& groups;
  core::Arena& saved;
  core::Arena& scratch;
  core::Arena& state;
  const TokenBatch* tokens = nullptr;
  Pass pass = Pass::eval;
  LossScale scale = {};
  DepthStates depth = {};
  DecodeCache* cache = nullptr;  // while decoding: tokens go on where the cache ends
  Probe* probe = nullptr;        // while a run is measured: attention layers show what they compute
  PhaseClock clock = {};
  Lane* lane = nullptr;      // for collectives beside the model, see beside.h
  PeerLinks peers = {};      // where ranks write into each other's memory
  GradSync* sync = nullptr;  // in a step: learns where the model is
};

/// The arenas of a Ctx and, for what comes from outside, `inputs`.
struct Arenas {
  core::Arena saved{"activations"}, scratch{"scratch"}, state{"step state"}, inputs{"inputs"};

  /// A context that plans in them; the same one serves once they and its stream are real.
  Ctx ctx(Groups& groups) {
    return {.stream = {.device = Device::plan},
            .groups = groups,
            .saved = saved,
            .scratch = scratch,
            .state = state};
  }
  /// Ends planning.
  void allocate(Device device) {
    for (core::Arena* arena : {&saved, &scratch, &state, &inputs}) arena->allocate(device);
  }
};

}  // namespace strait::parallel
