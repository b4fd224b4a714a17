#include "parallel/grad_sync.h"

namespace strait::parallel {
namespace {

/// A segment of a flat tensor, and this rank's share of it.
struct Shared {
  Tensor all, own;
  Shared(const core::Segment& segment, const Tensor& flat)
      : all(flat.slice(0, segment.begin, segment.ranks * segment.share)),
        own(all.slice(0, segment.rank * segment.share, segment.share)) {}
};

}  // namespace

void sum_gradients(core::ParamTable& table, Groups& groups, const Stream& stream) {
  const Tensor& flat = table.flat().grad;
  for (const core::Segment& segment : table.segments()) {
    if (segment.ranks == 1) continue;
    const Shared gradients(segment, flat);
    groups.axis(segment.axis).reduce_scatter_sum(gradients.all, gradients.own, stream, "gradients");
  }
  for (const core::GradientRun& run : table.gradient_runs()) {
    for (const core::Axis axis : run.axes) {
      groups.axis(axis).all_reduce_sum(flat.slice(0, run.begin, run.size), stream, "gradients");
    }
  }
}

void share_weights(core::ParamTable& table, Groups& groups, const Stream& stream) {
  for (const core::Segment& segment : table.segments()) {
    if (segment.ranks == 1) continue;
    const Shared weights(segment, table.flat().weight);
    groups.axis(segment.axis).all_gather(weights.own, weights.all, stream, "weights");
  }
}

}  // namespace strait::parallel
