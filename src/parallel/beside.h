#pragma once

#include "parallel/ctx.h"

namespace strait::parallel {

/// Runs collective(stream) beside what the model's stream does next, where there is a lane for it
/// (Ctx::lane), else on that stream. What it reads and writes is its own until await_beside.
template <class Collective>
void beside(Ctx& ctx, const Collective& collective) {
  if (!ctx.lane) return collective(ctx.stream);
  collective(ctx.lane->begin(ctx.stream));
  ctx.lane->end();
}

/// The model's stream goes on when all that runs beside it is done.
inline void await_beside(Ctx& ctx) {
  if (ctx.lane) ctx.lane->await(ctx.stream, ctx.groups.traffic().clock());
}

/// The model's stream goes on when what `peer` sent is here; by the clock.
inline void await_peer(Ctx& ctx, Peers& peers, int peer) {
  const CommClock& clock = ctx.groups.traffic().clock();
  clock.enter(ctx.stream);
  peers.await(peer, ctx.stream);
  clock.leave(ctx.stream);
}

}  // namespace strait::parallel
