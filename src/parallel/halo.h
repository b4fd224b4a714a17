#pragma once

#include "parallel/ctx.h"

// The boundary between chunks of one sequence on different context ranks, for layers that look a
// constant number of tokens back. The pair: forward, the end of a chunk goes to the owner of the
// next; backward, the gradients of what was sent come back and are added.
namespace strait::parallel {

/// What stands in front of each chunk, [chunks, ..]; undefined where a chunk is a whole sequence or
/// nothing is looked back at. In front of a sequence it is zero.
struct Halo {
  Tensor z;  // [chunks, columns, C], oldest first
  Tensor v;  // [chunks, Cd] of the token right before
};

/// z [T, C], v [T, Cd] or undefined. The halo lies in ctx.saved.
Halo receive_halo(Ctx& ctx, const Tensor& z, const Tensor& v, std::int64_t columns);

/// Room for the gradients of `halo`, in ctx.scratch.
Halo halo_gradients(Ctx& ctx, const Halo& halo);

/// Adds the gradients that other chunks have for the ends of this rank's to dz and dv.
void return_halo(Ctx& ctx, const Halo& dhalo, const Tensor& dz, const Tensor& dv);

}  // namespace strait::parallel
