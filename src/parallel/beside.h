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

}  // namespace strait::parallel
