#pragma once

#include "layers/layer.h"
#include "parallel/key_exchange.h"

namespace strait::layers {

/// Sizes of the softmax attention inside an attention layer, on this rank.
struct CoreDims {
  std::int64_t heads = 0;      // H
  std::int64_t kv_heads = 0;   // G
  std::int64_t key_dim = 0;    // dk
  std::int64_t value_dim = 0;  // dv
  bool slides = false;         // within the sliding layers' window
  std::int64_t layer = 0;      // of the model
  bool remembers = true;       // while decoding: keys and values go into ctx.cache; else the layer
                               // hands over all that are seen
};

/// Softmax attention, shared by all kinds of attention layers; scores are scaled by 1 / sqrt(dk).
/// The one place that exchanges keys between context ranks (parallel/key_exchange.h): all at once,
/// or block by block where the token batch says so.
class AttentionCore {
 public:
  explicit AttentionCore(const CoreDims& dims);

  /// q [T, H, dk], k [T, G, dk], v [T, G, dv] -> o [T, H, dv]; keeps the log-sum-exp. All four must
  /// stay until backward. While decoding the queries see what ctx.cache holds, too.
  void forward(Ctx& ctx, ConstTensor q, ConstTensor k, ConstTensor v, Tensor o);
  /// dq, dk, dv assigned.
  void backward(Ctx& ctx, ConstTensor dout, Tensor dq, Tensor dk, Tensor dv);

  const CoreDims& dims() const { return dims_; }

  /// What forward keeps for backward; valid as long as the caller's tensors.
  struct Saved {
    ConstTensor q, k, v, o;
    Tensor lse;  // [H, T]
  };
  const Saved& saved() const { return saved_; }

 private:
  const parallel::Spans& spans(const Ctx& ctx) const;
  parallel::KeysValues views(const Tensor& rows) const;
  /// Keys that lie in one piece.
  void attend(Ctx& ctx, ConstTensor k, ConstTensor v, const parallel::Spans& spans, Tensor o,
              Tensor lse) const;
  void attend_backward(Ctx& ctx, ConstTensor dout, ConstTensor k, ConstTensor v,
                       const parallel::Spans& spans, Tensor dq, Tensor dk, Tensor dv) const;
  void attend_all(Ctx& ctx, Tensor o) const;
  void ring_forward(Ctx& ctx, Tensor o) const;
  void ring_backward(Ctx& ctx, ConstTensor dout, Tensor dq, Tensor rows) const;
  void remember(Ctx& ctx, ConstTensor& k, ConstTensor& v) const;

  CoreDims dims_;
  double scale_;
  Saved saved_;
};

}  // namespace strait::layers
