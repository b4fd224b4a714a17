#include "parallel/halo.h"

#include <array>
#include <vector>

#include "kernels/elementwise.h"

namespace strait::parallel {
namespace {

using kernels::launch;

/// A view of other dims and strides.
Tensor strided(const Tensor& base, std::int64_t offset, std::array<std::int64_t, 3> shape,
               std::array<std::int64_t, 3> stride) {
  Tensor out(base.data, base.dtype, {shape[0], shape[1], shape[2]});
  out.data = static_cast<char*>(base.data) +
             offset * static_cast<std::int64_t>(kernels::size_of(base.dtype));
  for (int i = 0; i < 3; ++i) out.stride[i] = stride[i];
  return out;
}

/// One field of the halo, seen from both sides of a chunk boundary. Chunks lie as (sequence, half).
struct Field {
  std::int64_t columns, width;  // of one chunk's halo
  std::int64_t chunk, sequences;

  std::int64_t elements() const { return columns * width; }
  /// The last `columns` rows of the chunks of one half in rows [T, width].
  Tensor ends(const Tensor& rows, int half) const {
    const std::int64_t row = rows.stride[0];
    return strided(rows, ((half + 1) * chunk - columns) * row, {sequences, columns, width},
                   {2 * chunk * row, row, 1});
  }
  /// The halos of one half in [chunks, columns, width].
  Tensor halos(const Tensor& all, int half) const {
    return strided(all, half * elements(), {sequences, columns, width}, {2 * elements(), width, 1});
  }
  /// The field's part of messages of `pitch` elements a sequence.
  Tensor part(const Tensor& message, std::int64_t offset, std::int64_t pitch) const {
    return strided(message, offset, {sequences, columns, width}, {pitch, width, 1});
  }
};

/// The halo's fields, and how they travel: for each half one message [sequences, z | v].
class Route {
 public:
  Route(Ctx& ctx, const Tensor& z, const Tensor& v, std::int64_t columns)
      : ctx_(ctx), group_(ctx.groups.axis(core::Axis::cp)) {
    const TokenBatch& tokens = *ctx.tokens;
    const auto field = [&](const Tensor& t, std::int64_t history) {
      const bool present = t.defined() && history > 0;
      return Field{history, present ? t.shape[t.rank - 1] : 0, tokens.chunk, tokens.sequences};
    };
    fields_ = {field(z, columns), field(v, 1)};
    pitch_ = fields_[0].elements() + fields_[1].elements();
  }

  const Field& z() const { return fields_[0]; }
  const Field& v() const { return fields_[1]; }
  bool empty() const { return pitch_ == 0; }

  Tensor message(DType dtype) const {
    return ctx_.scratch.take(dtype, {fields_[0].sequences, pitch_});
  }
  Tensor z_of(const Tensor& message) const { return z().part(message, 0, pitch_); }
  Tensor v_of(const Tensor& message) const { return v().part(message, z().elements(), pitch_); }

  /// Where the end of this rank's chunk of `half` is wanted: the next chunk's rank, or -1.
  int after(int half) const {
    if (half == 1) return group_.rank() - 1;
    return group_.rank() + 1 < group_.size() ? group_.rank() + 1 : group_.rank();
  }
  /// Whose chunk stands before this rank's chunk of `half`; -1: none.
  int before(int half) const {
    if (half == 0) return group_.rank() - 1;
    return group_.rank() + 1 < group_.size() ? group_.rank() + 1 : group_.rank();
  }

  /// Sends the messages of both halves to their peers; those from or for nobody stay untouched.
  template <class To, class From>
  void exchange(const std::array<Tensor, 2>& out, const std::array<Tensor, 2>& in, const To& to,
                const From& from, const char* what) const {
    std::vector<Message> sends, receives;
    for (int half = 0; half < 2; ++half) {
      if (to(half) >= 0) sends.push_back({to(half), out[half]});
      if (from(half) >= 0) receives.push_back({from(half), in[half]});
    }
    group_.exchange(sends, receives, ctx_.stream, what);
  }

 private:
  Ctx& ctx_;
  Communicator& group_;
  std::array<Field, 2> fields_;
  std::int64_t pitch_ = 0;
};

void copy(Ctx& ctx, const Tensor& from, const Tensor& to) {
  if (from.numel() > 0) launch(kernels::Copy{.x = from, .y = to}, ctx.stream);
}

void add(Ctx& ctx, const Tensor& from, const Tensor& to) {
  if (from.numel() > 0) launch(kernels::Add{.a = to, .b = from, .y = to}, ctx.stream);
}

}  // namespace

Halo receive_halo(Ctx& ctx, const Tensor& z, const Tensor& v, std::int64_t columns) {
  if (ctx.groups.axis(core::Axis::cp).alone()) return {};
  const Route route(ctx, z, v, columns);
  if (route.empty()) return {};
  const std::int64_t chunks = 2 * ctx.tokens->sequences;
  Halo halo;
  if (route.z().elements() > 0) halo.z = ctx.saved.take(z.dtype, {chunks, columns, z.shape[1]});
  if (route.v().elements() > 0) halo.v = ctx.saved.take(z.dtype, {chunks, v.shape[1]});
  const core::Frame frame(ctx.scratch);
  std::array<Tensor, 2> out, in;
  for (int half = 0; half < 2; ++half) {
    out[half] = route.message(z.dtype);
    in[half] = route.message(z.dtype);
    if (halo.z.defined()) copy(ctx, route.z().ends(z, half), route.z_of(out[half]));
    if (halo.v.defined()) copy(ctx, route.v().ends(v, half), route.v_of(out[half]));
    if (route.before(half) < 0) launch(kernels::Fill{.x = in[half], .value = 0}, ctx.stream);
  }
  route.exchange(
      out, in, [&](int half) { return route.after(half); },
      [&](int half) { return route.before(half); }, "cp halo");
  for (int half = 0; half < 2; ++half) {
    if (halo.z.defined()) copy(ctx, route.z_of(in[half]), route.z().halos(halo.z, half));
    if (halo.v.defined()) copy(ctx, route.v_of(in[half]), route.v().halos(halo.v, half));
  }
  return halo;
}

Halo halo_gradients(Ctx& ctx, const Halo& halo) {
  Halo d;
  if (halo.z.defined()) {
    d.z = ctx.scratch.take(halo.z.dtype, {halo.z.shape[0], halo.z.shape[1], halo.z.shape[2]});
  }
  if (halo.v.defined()) d.v = ctx.scratch.take(halo.v.dtype, {halo.v.shape[0], halo.v.shape[1]});
  return d;
}

void return_halo(Ctx& ctx, const Halo& dhalo, const Tensor& dz, const Tensor& dv) {
  if (!dhalo.z.defined() && !dhalo.v.defined()) return;
  const core::Frame frame(ctx.scratch);
  const Route route(ctx, dz, dv, dhalo.z.defined() ? dhalo.z.shape[1] : 0);
  std::array<Tensor, 2> out, in;
  for (int half = 0; half < 2; ++half) {
    out[half] = route.message(dz.dtype);
    in[half] = route.message(dz.dtype);
    if (dhalo.z.defined()) copy(ctx, route.z().halos(dhalo.z, half), route.z_of(out[half]));
    if (dhalo.v.defined()) copy(ctx, route.v().halos(dhalo.v, half), route.v_of(out[half]));
  }
  route.exchange(
      out, in, [&](int half) { return route.before(half); },
      [&](int half) { return route.after(half); }, "cp halo gradients");
  for (int half = 0; half < 2; ++half) {
    if (route.after(half) < 0) continue;
    if (dhalo.z.defined()) add(ctx, route.z_of(in[half]), route.z().ends(dz, half));
    if (dhalo.v.defined()) add(ctx, route.v_of(in[half]), route.v().ends(dv, half));
  }
}

}  // namespace strait::parallel
