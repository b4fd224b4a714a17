"""Strait models that transformers has no class for: load with trust_remote_code=True.

Written beside the weights by Strait's export. `config.model` is the section "model" of a run's
config; parameters carry its names. There is no key-value cache: every step reads the whole text.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F
from transformers import GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput


class StraitConfig(PretrainedConfig):
    model_type = "strait"

    def __init__(self, model=None, **kwargs):
        self.model = model or {}
        kwargs.setdefault("use_cache", False)
        super().__init__(**kwargs)


def rms_norm(x, weight, eps):
    wide = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
    return (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)).to(x.dtype) * weight


def linear(outputs, inputs):
    return nn.Linear(inputs, outputs, bias=False)


class Weights(nn.Module):
    """Named parameters of one place: `weight`, `bias`."""

    def __init__(self, **shapes):
        super().__init__()
        for name, shape in shapes.items():
            setattr(self, name, nn.Parameter(torch.zeros(shape)))


class Rope:
    """Rotates the first channels of heads [B, S, n, d] by their positions."""

    def __init__(self, theta, dims, interleaved):
        self.theta, self.dims, self.interleaved = theta, dims, interleaved

    def __call__(self, x):
        if self.dims == 0:
            return x
        half = self.dims // 2
        at = torch.arange(x.shape[1], device=x.device, dtype=torch.float64)
        exponent = torch.arange(half, device=x.device, dtype=torch.float64) * 2 / self.dims
        angle = at[:, None] * self.theta ** -exponent
        cos, sin = (f(angle)[None, :, None].to(x.dtype) for f in (torch.cos, torch.sin))
        turned, rest = x[..., : self.dims], x[..., self.dims :]
        if self.interleaved:
            a, b = turned[..., 0::2], turned[..., 1::2]
            turned = torch.stack((a * cos - b * sin, b * cos + a * sin), -1).flatten(-2)
        else:
            a, b = turned[..., :half], turned[..., half:]
            turned = torch.cat((a * cos - b * sin, b * cos + a * sin), -1)
        return torch.cat((turned, rest), -1)


def attend(q, k, v, window):
    """Causal attention of [B, S, H, dk] over [B, S, G, dk] and [B, S, G, dv]."""
    group, seq = q.shape[2] // k.shape[2], q.shape[1]
    k, v = (t.repeat_interleave(group, 2).transpose(1, 2) for t in (k, v))
    scores = q.transpose(1, 2) @ k.transpose(2, 3) / math.sqrt(q.shape[-1])
    at = torch.arange(seq, device=q.device)
    back = at[:, None] - at[None]
    hidden = back < 0
    if window > 0:
        hidden = hidden | (back >= window)
    scores = scores.masked_fill(hidden, float("-inf"))
    wide = scores.float() if scores.dtype in (torch.bfloat16, torch.float16) else scores
    return (wide.softmax(-1).to(v.dtype) @ v).transpose(1, 2).flatten(2)


def layer_rope(m, layer, dims):
    a = m["attention"]
    pattern = a["sliding"]["pattern"]
    slides = bool(pattern) and pattern[layer % len(pattern)] == "s"
    theta = a["sliding"]["theta"] if slides else a["rope"]["theta"]
    fraction = 1.0 if a["kind"] == "mla" else a["rope"]["fraction"]
    window = a["sliding"]["window"] if slides else a["window"]
    return Rope(theta, int(round(fraction * dims)), a["rope"]["interleaved"]), window


class Gqa(nn.Module):
    def __init__(self, m, layer):
        super().__init__()
        a, width = m["attention"], m["d_model"]
        self.heads, self.kv, self.d = a["n_heads"], a["n_kv_heads"], a["head_dim"]
        self.eps, self.normed = m["norm_eps"], a["qk_norm"]
        self.rope, self.window = layer_rope(m, layer, self.d)
        self.q = linear(self.heads * self.d, width)
        self.k = linear(self.kv * self.d, width)
        self.v = linear(self.kv * self.d, width)
        if self.normed:
            self.q_norm, self.k_norm = Weights(weight=[self.d]), Weights(weight=[self.d])
        self.o = linear(width, self.heads * self.d)

    def forward(self, x):
        q = self.q(x).unflatten(-1, (self.heads, self.d))
        k = self.k(x).unflatten(-1, (self.kv, self.d))
        v = self.v(x).unflatten(-1, (self.kv, self.d))
        if self.normed:
            q = rms_norm(q, self.q_norm.weight, self.eps)
            k = rms_norm(k, self.k_norm.weight, self.eps)
        return self.o(attend(self.rope(q), self.rope(k), v, self.window))


class Mla(nn.Module):
    def __init__(self, m, layer):
        super().__init__()
        a, width = m["attention"], m["d_model"]
        self.dims, self.heads = a["mla"], a["n_heads"]
        n, r, dv = (self.dims[key] for key in ("nope_dim", "rope_dim", "value_dim"))
        cq, ckv = self.dims["q_rank"], self.dims["kv_rank"]
        self.rope, self.window = layer_rope(m, layer, r)
        queries = self.heads * (n + r)
        if cq > 0:
            self.q_a, self.q_a_norm = linear(cq, width), Weights(weight=[cq])
            self.q_b = linear(queries, cq)
        else:
            self.q = linear(queries, width)
        self.kv_a, self.kv_a_norm = linear(ckv + r, width), Weights(weight=[ckv])
        self.kv_b = linear(self.heads * (n + dv), ckv)
        self.o = linear(width, self.heads * dv)

    def forward(self, x):
        n, r, dv = (self.dims[key] for key in ("nope_dim", "rope_dim", "value_dim"))
        eps = self.dims["norm_eps"]
        if self.dims["q_rank"] > 0:
            q = self.q_b(rms_norm(self.q_a(x), self.q_a_norm.weight, eps))
        else:
            q = self.q(x)
        q = q.unflatten(-1, (self.heads, n + r))
        latent, k_rope = self.kv_a(x).split((self.dims["kv_rank"], r), -1)
        kv = self.kv_b(rms_norm(latent, self.kv_a_norm.weight, eps))
        k, v = kv.unflatten(-1, (self.heads, n + dv)).split((n, dv), -1)
        k_rope = self.rope(k_rope[:, :, None]).expand(-1, -1, self.heads, -1)
        q = torch.cat((q[..., :n], self.rope(q[..., n:])), -1)
        return self.o(attend(q, torch.cat((k, k_rope), -1), v, self.window))


class Cca(nn.Module):
    """Compressed Convolutional Attention (arXiv 2510.04476)."""

    def __init__(self, m, layer):
        super().__init__()
        a, width = m["attention"], m["d_model"]
        self.cca = a["cca"]
        self.heads, self.kv, self.d = a["n_heads"], a["n_kv_heads"], a["head_dim"]
        self.rope, self.window = layer_rope(m, layer, self.d)
        d, all_heads = self.d, self.heads + self.kv
        self.q, self.k = linear(self.heads * d, width), linear(self.kv * d, width)
        if self.cca["value_shift"]:
            self.v_cur = linear(self.kv * d // 2, width)
            self.v_del = linear(self.kv * d // 2, width)
        else:
            self.v = linear(self.kv * d, width)
        n0, n1 = self.cca["taps_depthwise"], self.cca["taps_grouped"]
        if self.cca["convs"] >= 1:
            self.conv0 = Weights(weight=[n0, all_heads * d], bias=[all_heads * d])
        if self.cca["convs"] >= 2:
            self.conv1 = Weights(weight=[all_heads, n1 * d, d], bias=[all_heads, d])
        if self.cca["norm"]:
            self.temp = nn.Parameter(torch.zeros(self.kv))
        self.o = linear(width, self.heads * d)

    def mix(self, z):
        """The convolutions; before the text z is 0, so the first one's output is its bias."""
        n0, n1 = self.cca["taps_depthwise"], self.cca["taps_grouped"]
        heads = self.heads + self.kv
        if self.cca["convs"] == 0:
            return z.unflatten(-1, (heads, self.d))
        before = n1 - 1 if self.cca["convs"] == 2 else 0
        padded = F.pad(z, (0, 0, n0 - 1 + before, 0))
        rows = z.shape[1] + before
        a = self.conv0.bias + sum(self.conv0.weight[s] * padded[:, s : s + rows] for s in range(n0))
        a = a.unflatten(-1, (heads, self.d))
        if self.cca["convs"] == 1:
            return a
        taps = torch.cat([a[:, s : s + z.shape[1]] for s in range(n1)], -1)
        return torch.einsum("bshi,hio->bsho", taps, self.conv1.weight) + self.conv1.bias

    def forward(self, x):
        q0, k0 = self.q(x), self.k(x)
        u = self.mix(torch.cat((q0, k0), -1))
        q, k = u[:, :, : self.heads], u[:, :, self.heads :]
        if self.cca["qk_mean"]:
            q0, k0 = q0.unflatten(-1, (self.kv, -1, self.d)), k0.unflatten(-1, (self.kv, 1, self.d))
            mean = (q0 + k0) / 2
            q, k = q + mean.flatten(2, 3), k + mean.mean(3)
        if self.cca["norm"]:
            q, k = (t * math.sqrt(self.d) * torch.rsqrt(t.square().sum(-1, keepdim=True) + 1e-12)
                    for t in (q, k))
            tau = self.temp.exp() if self.cca["key_temperature"] == "exp" else self.temp
            k = k * tau[:, None]
        if self.cca["value_shift"]:
            v = torch.cat((self.v_cur(x), F.pad(self.v_del(x), (0, 0, 1, 0))[:, :-1]), -1)
        else:
            v = self.v(x)
        v = v.unflatten(-1, (self.kv, self.d))
        return self.o(attend(self.rope(q), self.rope(k), v, self.window))


class Mlp(nn.Module):
    def __init__(self, width, hidden):
        super().__init__()
        self.gate, self.up = linear(hidden, width), linear(hidden, width)
        self.down = linear(width, hidden)

    def forward(self, x):
        return self.down(F.silu(self.gate(x)) * self.up(x))


class Hidden(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width, width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x):
        return F.gelu(F.linear(x, self.weight, self.bias))


class Router(nn.Module):
    def __init__(self, m, first):
        super().__init__()
        self.moe, width = m["ffn"]["moe"], m["d_model"]
        classes = self.moe["n_experts"] + self.moe["skip"]
        self.eps, self.first = m["norm_eps"], first
        if self.moe["router"]["kind"] == "linear":
            self.weight = nn.Parameter(torch.zeros(classes, width))
        else:
            inner = self.moe["router"]["width"]
            self.down = Weights(weight=[inner, width], bias=[inner])
            if self.moe["router"]["depth_average"] and not first:
                self.gamma = nn.Parameter(torch.zeros(inner))
            self.norm = Weights(weight=[inner])
            self.fc1, self.fc2 = Hidden(inner), Hidden(inner)
            self.out = linear(classes, inner)
        if self.moe["selection_bias"]:
            self.bias = nn.Parameter(torch.zeros(self.moe["n_experts"]), requires_grad=False)

    def logits(self, x, state):
        if self.moe["router"]["kind"] == "linear":
            return F.linear(x, self.weight), None
        r = F.linear(x, self.down.weight, self.down.bias)
        if hasattr(self, "gamma"):
            r = r + self.gamma * state
        return self.out(self.fc2(self.fc1(rms_norm(r, self.norm.weight, self.eps)))), r

    def forward(self, x, state):
        """Experts [N, K], weights [N, K] and the state for the next router."""
        logits, state = self.logits(x, state)
        wide = logits.float() if logits.dtype in (torch.bfloat16, torch.float16) else logits
        softmax = self.moe["score"] == "softmax"
        scores = wide.softmax(-1) if softmax else wide.sigmoid()
        choice = scores
        if self.moe["selection_bias"]:
            bias = self.bias.to(scores.dtype)
            if self.moe["skip"]:
                bias = torch.cat((bias, bias.new_full((1,), -1.0)))
            choice = scores + bias
        groups = self.moe["groups"]
        if self.moe["top_groups"] < groups:
            grouped = choice.unflatten(-1, (groups, -1))
            best = grouped.topk(min(2, grouped.shape[-1]), -1).values.sum(-1)
            kept = best.topk(self.moe["top_groups"], -1).indices
            mask = torch.zeros_like(best).scatter(-1, kept, 1).bool()
            choice = grouped.masked_fill(~mask[..., None], float("-inf")).flatten(-2)
        expert = choice.topk(self.moe["top_k"], -1).indices
        weight = scores.gather(-1, expert)
        if self.moe["renormalise"]:
            weight = weight / (weight.sum(-1, keepdim=True) + 1e-20)
        return expert, weight * self.moe["scale"], state


class Moe(nn.Module):
    def __init__(self, m, first):
        super().__init__()
        moe, width = m["ffn"]["moe"], m["d_model"]
        n, hidden = moe["n_experts"], moe["d_expert"]
        self.router = Router(m, first)
        self.experts = nn.ModuleDict({
            "gate": Weights(weight=[n, hidden, width]),
            "up": Weights(weight=[n, hidden, width]),
            "down": Weights(weight=[n, width, hidden])})
        self.shared = Mlp(width, moe["n_shared"] * hidden) if moe["n_shared"] > 0 else None

    def forward(self, x, state):
        shape, x = x.shape, x.flatten(0, 1)
        expert, weight, state = self.router(x, state)
        y = torch.zeros_like(x) if self.shared is None else self.shared(x)
        for e in range(self.experts["gate"].weight.shape[0]):
            token, slot = torch.where(expert == e)
            if token.numel() == 0:
                continue
            gate, up, down = (self.experts[part].weight[e] for part in ("gate", "up", "down"))
            hidden = F.silu(F.linear(x[token], gate)) * F.linear(x[token], up)
            out = F.linear(hidden, down) * weight[token, slot, None].to(x.dtype)
            y = y.index_add(0, token, out)
        return y.view(shape), state


class ResidualScale(nn.Module):
    def __init__(self, width, stream):
        super().__init__()
        for name in ("branch", "stream") if stream else ("branch",):
            setattr(self, name + "_scale", nn.Parameter(torch.ones(width)))
            setattr(self, name + "_bias", nn.Parameter(torch.zeros(width)))

    def forward(self, branch, stream=None):
        y = (branch + self.branch_bias) * self.branch_scale
        return y if stream is None else y + (stream + self.stream_bias) * self.stream_scale


class Block(nn.Module):
    def __init__(self, m, layer, mixtures):
        super().__init__()
        width, kind = m["d_model"], m["attention"]["kind"]
        self.eps, self.is_moe = m["norm_eps"], layer in mixtures
        self.attn_norm, self.ffn_norm = Weights(weight=[width]), Weights(weight=[width])
        self.attn = {"mla": Mla, "cca": Cca, "ccgqa": Cca}.get(kind, Gqa)(m, layer)
        self.ffn = Moe(m, layer == mixtures[0]) if self.is_moe else Mlp(width, m["ffn"]["d_ff"])
        self.scaled = m["residual_scale"]
        if self.scaled:
            self.attn_residual = ResidualScale(width, True)
            self.ffn_residual = ResidualScale(width, True)

    def forward(self, x, state):
        a = self.attn(rms_norm(x, self.attn_norm.weight, self.eps))
        x = self.attn_residual(a, x) if self.scaled else x + a
        y = rms_norm(x, self.ffn_norm.weight, self.eps)
        if self.is_moe:
            y, state = self.ffn(y, state)
        else:
            y = self.ffn(y)
        return (self.ffn_residual(y, x) if self.scaled else x + y), state


def mixture_layers(m):
    ffn, moe = m["ffn"], m["ffn"]["moe"]
    if ffn["kind"] == "dense":
        return []
    first = moe["first_dense"]
    return [n for n in range(first, m["n_layers"]) if (n - first + 1) % moe["every"] == 0]


class StraitForCausalLM(PreTrainedModel, GenerationMixin):
    config_class = StraitConfig
    base_model_prefix = ""
    _no_split_modules = ["Block"]

    def __init__(self, config):
        super().__init__(config)
        m = config.model
        mixtures = mixture_layers(m)
        self.embed = nn.Embedding(m["vocab_size"], m["d_model"])
        if m["residual_scale"]:
            self.embed_residual = ResidualScale(m["d_model"], False)
        self.layers = nn.ModuleList(Block(m, n, mixtures) for n in range(m["n_layers"]))
        self.final_norm = Weights(weight=[m["d_model"]])
        if not m["tie_embeddings"]:
            self.lm_head = linear(m["vocab_size"], m["d_model"])
        self.post_init()

    def get_input_embeddings(self):
        return self.embed

    def _init_weights(self, module):
        pass  # weights come from a checkpoint

    def prepare_inputs_for_generation(self, input_ids, **kwargs):
        return {"input_ids": input_ids}

    def forward(self, input_ids, labels=None, **kwargs):
        m = self.config.model
        x, state = self.embed(input_ids), None
        if m["residual_scale"]:
            x = self.embed_residual(x)
        for block in self.layers:
            x, state = block(x, state)
        head = self.embed if m["tie_embeddings"] else self.lm_head
        logits = F.linear(rms_norm(x, self.final_norm.weight, m["norm_eps"]), head.weight)
        loss = None
        if labels is not None:
            loss = F.cross_entropy(logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten())
        return CausalLMOutput(loss=loss, logits=logits)
