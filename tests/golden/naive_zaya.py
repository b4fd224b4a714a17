"""ZAYA1 (arXiv 2605.05365) for naive_float.py: CCGQA, its router, scaled residuals."""
import torch

# Tensors that run over the model's channels along dim 0, and those that do not run over them.
STREAM = ("hidden_states_scale", "hidden_states_bias", "residual_scale.residual_scale",
          "residual_bias")
INNER = ("fc1.weight", "fc2.weight", "out_proj.weight", "router_states_scale",
         "conv_qk_depthwise.weight", "conv_qk_grouped.weight")


class Zaya:
    """As naive_float.Model. The residual stream and the router are not rounded."""

    def __init__(self, config, weights, keep):
        self.c, self.w, self.keep = config, weights, keep
        self.margin = float("inf")

    def norm(self, x, name, keep):
        w, eps = self.w[name + ".weight"], self.c["rms_norm_eps"]
        return keep(x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * w)

    def attention(self, x, at, kind):
        import naive_float as naive
        c, w = self.c, self.w
        n, g, d = c["num_attention_heads"], c["num_key_value_heads"], c["head_dim"]
        qkv = at + "qkv_proj."
        grouped = w[qkv + "conv_qk_grouped.weight"].unflatten(0, (n + g, d))  # [H, out, in, taps]
        names = ("q_proj", "k_proj", "v_proj_current", "v_proj_delayed")
        layer = {"proj.weight": torch.cat([w[qkv + name + ".weight"] for name in names]),
                 "w0": w[qkv + "conv_qk_depthwise.weight"][:, 0].T,
                 "b0": w[qkv + "conv_qk_depthwise.bias"],
                 "w1": grouped.permute(0, 3, 2, 1).flatten(1, 2),
                 "b1": w[qkv + "conv_qk_grouped.bias"].view(n + g, d),
                 "tau": w[at + "qk_norm.temp"]}
        shape = {"n_heads": n, "n_kv_heads": g, "head_dim": d, "k_seq": c["cca_time0"],
                 "k_ch": c["cca_time1"]}
        q, k, v = naive.cca_qkv(layer, shape, x, self.keep)
        rope = c["rope_parameters"][kind]
        width = int(d * rope["partial_rotary_factor"])
        q, k = (self.keep(naive.rotate(t, rope["rope_theta"], width)) for t in (q, k))
        window = c["sliding_window"] if kind == "hybrid_sliding" else None
        o = naive.attend(q, k, v, self.keep, window)
        return self.keep(naive.joined(o) @ w[at + "o_proj.weight"].T)

    def route(self, x, at, before):
        """Expert and its probability of every token, and the router's state."""
        gate, w = at + "gate.", self.w
        state = x @ w[gate + "down_proj.weight"].T + w[gate + "down_proj.bias"]
        if before is not None:
            state = state + w[gate + "router_states_scale"] * before
        hidden = self.norm(state, gate + "router_mlp.norm", lambda t: t)
        for name in ("fc1", "fc2"):
            layer = gate + "router_mlp." + name
            hidden = torch.nn.functional.gelu(hidden @ w[layer + ".weight"].T + w[layer + ".bias"])
        scores = (hidden @ w[gate + "router_mlp.out_proj.weight"].T).softmax(-1)
        bias = w[gate + "balancing_biases"].clone()
        bias[-1] = -1  # the class without an expert, as transformers sets it on every load
        best = (scores + bias).topk(2, -1)
        self.margin = min(self.margin, (best.values[..., 0] - best.values[..., 1]).min().item())
        expert = best.indices[..., 0]
        return expert, scores.gather(-1, expert[..., None]), state

    def moe(self, x, at, before):
        expert, weight, state = self.route(x, at, before)
        y = torch.zeros_like(x)
        for e, (gate_up, down) in enumerate(zip(self.w[at + "experts.gate_up_proj"],
                                                self.w[at + "experts.down_proj"])):
            gate, up = self.keep(x @ gate_up.T).chunk(2, -1)
            out = self.keep(self.keep(torch.nn.functional.silu(gate) * up) @ down.T)
            y = y + (expert == e)[..., None] * out * weight
        return self.keep(y), state

    def scaled(self, at, branch, stream):
        w = self.w
        branch = (branch + w[at + "hidden_states_bias"]) * w[at + "hidden_states_scale"]
        return branch + (stream + w[at + "residual_bias"]) * w[at + "residual_scale"]

    def logits(self, ids):
        c, w = self.c, self.w
        embed = w["model.embed_tokens.weight"]
        h = embed[ids] + w["model.input_hidden_states_bias"]
        h = h * w["model.input_hidden_states_scale"]
        state = None
        for layer, kind in enumerate(c["layer_types"]):
            at = f"model.layers.{layer}."
            x = self.norm(h, at + "input_layernorm", self.keep)
            h = self.scaled(at + "post_attention_residual_scale.",
                            self.attention(x, at + "self_attn.", kind), h)
            x = self.norm(h, at + "post_attention_layernorm", self.keep)
            y, state = self.moe(x, at + "mlp.", state)
            h = self.scaled(at + "post_mlp_residual_scale.", y, h)
        return self.keep(self.norm(h, "model.norm", self.keep) @ embed.T)
