#!/usr/bin/env python3
"""Measures what a naive float32 evaluation of each case loses, and writes naive_f32.json.

  naive_float.py [FOLDER]     FOLDER holds the cases, by default the one this script lives in

Each case is evaluated twice by the plain PyTorch code below (eager, one operator at a time, gradients by autograd): in
float64 and in float32, on the same weights and inputs. The error of a tensor is the relative L2 distance between the
two. Per case, naive_f32.json keeps the worst error among the outputs and among the gradients and, for models, the root
mean square error of a token's loss in nats. The float64 evaluation is itself held against the stored reference, which
other code made; the script ends with exit code 1 where they disagree. Needs torch, numpy and safetensors, which the
build does not.
"""
import json
import sys
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file

MODELS = ("llama_mha", "llama_gqa", "qwen3_gqa", "qwen3_moe", "qwen3_moe_unnormed", "deepseek_v3_mla_dense",
          "deepseek_v3_mla_moe", "deepseek_v3_no_q_lora")


def rms_norm(x, w, eps):
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * w


def rotate(x, theta, width, interleaved=False):
    """RoPE on the first `width` channels of x [..., S, d], positions from 0."""
    exponent = torch.arange(0, width, 2, dtype=torch.float64) / width
    angle = torch.outer(torch.arange(x.shape[-2], dtype=torch.float64), theta ** -exponent)
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    head, rest = x[..., :width], x[..., width:]
    if interleaved:  # pairs (2i, 2i + 1) in, halves out, as transformers leaves them
        a, b = head[..., 0::2], head[..., 1::2]
    else:
        a, b = head[..., :width // 2], head[..., width // 2:]
    return torch.cat([a * cos - b * sin, b * cos + a * sin, rest], -1)


def attend(q, k, v):
    """Causal softmax attention; q [B, H, S, d], k and v with H or fewer heads."""
    group = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
    scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
    hidden = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
    return scores.masked_fill(hidden, float("-inf")).softmax(-1) @ v


def heads(x, n):
    return x.unflatten(-1, (n, -1)).transpose(1, 2)


def joined(x):
    return x.transpose(1, 2).flatten(2)


class Model:
    """A decoder in Hugging Face layout, read off config.json and the tensor names."""

    def __init__(self, config, weights):
        self.c, self.w = config, weights
        self.theta = config["rope_parameters"]["rope_theta"]

    def gqa(self, x, at):
        c, w = self.c, self.w
        q = heads(x @ w[at + "q_proj.weight"].T, c["num_attention_heads"])
        k = heads(x @ w[at + "k_proj.weight"].T, c["num_key_value_heads"])
        v = heads(x @ w[at + "v_proj.weight"].T, c["num_key_value_heads"])
        if at + "q_norm.weight" in w:
            q = rms_norm(q, w[at + "q_norm.weight"], c["rms_norm_eps"])
            k = rms_norm(k, w[at + "k_norm.weight"], c["rms_norm_eps"])
        q, k = (rotate(t, self.theta, q.shape[-1]) for t in (q, k))
        return joined(attend(q, k, v)) @ w[at + "o_proj.weight"].T

    def mla(self, x, at):
        c, w = self.c, self.w
        n, nope, rope = c["num_attention_heads"], c["qk_nope_head_dim"], c["qk_rope_head_dim"]
        if at + "q_proj.weight" in w:
            q = x @ w[at + "q_proj.weight"].T
        else:
            low = rms_norm(x @ w[at + "q_a_proj.weight"].T, w[at + "q_a_layernorm.weight"], 1e-6)
            q = low @ w[at + "q_b_proj.weight"].T
        q_nope, q_rope = heads(q, n).split([nope, rope], -1)
        low, k_rope = (x @ w[at + "kv_a_proj_with_mqa.weight"].T).split([c["kv_lora_rank"], rope], -1)
        kv = rms_norm(low, w[at + "kv_a_layernorm.weight"], 1e-6) @ w[at + "kv_b_proj.weight"].T
        k_nope, v = heads(kv, n).split([nope, c["v_head_dim"]], -1)
        q_rope = rotate(q_rope, self.theta, rope, c["rope_interleave"])
        k_rope = rotate(k_rope[:, None], self.theta, rope, c["rope_interleave"]).expand(-1, n, -1, -1)
        o = attend(torch.cat([q_nope, q_rope], -1), torch.cat([k_nope, k_rope], -1), v)
        return joined(o) @ w[at + "o_proj.weight"].T

    def mlp(self, x, at):
        w = self.w
        gate, up = x @ w[at + "gate_proj.weight"].T, x @ w[at + "up_proj.weight"].T
        return (torch.nn.functional.silu(gate) * up) @ w[at + "down_proj.weight"].T

    def route(self, x, at):
        """Experts and their weights [T, K] of tokens x [T, D]."""
        c, logits = self.c, x @ self.w[at + "gate.weight"].T
        bias = self.w.get(at + "gate.e_score_correction_bias")
        if bias is None:
            scores = logits.softmax(-1)
            chosen = scores.topk(c["num_experts_per_tok"], -1).indices
        else:
            scores = logits.sigmoid()
            groups = (scores + bias).unflatten(-1, (c["n_group"], -1))
            best = groups.topk(2, -1).values.sum(-1).topk(c["topk_group"], -1).indices
            allowed = torch.zeros(groups.shape[:-1]).scatter(1, best, 1.0).bool()[..., None]
            chosen = groups.masked_fill(~allowed, float("-inf")).flatten(1)
            chosen = chosen.topk(c["num_experts_per_tok"], -1).indices
        weight = scores.gather(1, chosen)
        if c["norm_topk_prob"]:
            weight = weight / weight.sum(-1, keepdim=True)
        return chosen, weight * c.get("routed_scaling_factor", 1.0)

    def moe(self, x, at):
        flat = x.flatten(0, 1)
        chosen, weight = self.route(flat, at)
        y = torch.zeros_like(flat)
        for expert in range(self.w[at + "gate.weight"].shape[0]):
            rows, slot = (chosen == expert).nonzero(as_tuple=True)
            out = self.mlp(flat[rows], f"{at}experts.{expert}.") * weight[rows, slot][:, None]
            y = y.index_add(0, rows, out)
        y = y.view_as(x)
        shared = at + "shared_experts."
        return y + self.mlp(x, shared) if shared + "up_proj.weight" in self.w else y

    def logits(self, ids):
        c, w = self.c, self.w
        attention = self.mla if c["model_type"] == "deepseek_v3" else self.gqa
        h = w["model.embed_tokens.weight"][ids]
        for layer in range(c["num_hidden_layers"]):
            at = f"model.layers.{layer}."
            normed = rms_norm(h, w[at + "input_layernorm.weight"], c["rms_norm_eps"])
            h = h + attention(normed, at + "self_attn.")
            normed = rms_norm(h, w[at + "post_attention_layernorm.weight"], c["rms_norm_eps"])
            h = h + (self.moe if at + "mlp.gate.weight" in w else self.mlp)(normed, at + "mlp.")
        h = rms_norm(h, w["model.norm.weight"], c["rms_norm_eps"])
        return h @ w["model.embed_tokens.weight" if c["tie_word_embeddings"] else "lm_head.weight"].T


def fused(grads):
    """Expert gradients as the reference stores them: [E, 2F, D] gate rows first, [E, D, F]."""
    out, experts = {}, {}
    for name, grad in grads.items():
        if ".experts." not in name:
            out[name] = grad
            continue
        at, rest = name.split(".experts.")
        index, kind = rest.split(".")[:2]
        experts.setdefault(at + ".experts.", {})[kind, int(index)] = grad
    for at, parts in experts.items():
        count = 1 + max(index for _, index in parts)
        both = [torch.cat([parts["gate_proj", e], parts["up_proj", e]]) for e in range(count)]
        out[at + "gate_up_proj"] = torch.stack(both)
        out[at + "down_proj"] = torch.stack([parts["down_proj", e] for e in range(count)])
    return out


def run_model(folder, dtype):
    """(outputs, gradients) of a folder's model."""
    weights = {k: v.to(dtype) for k, v in load_file(folder / "model.safetensors").items()}
    for name, w in weights.items():
        w.requires_grad_(not name.endswith("e_score_correction_bias"))
    ids = load_file(folder / "reference.safetensors")["input_ids"]
    model = Model(json.loads((folder / "config.json").read_text()), weights)
    logits = model.logits(ids)
    loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    loss.mean().backward()
    grads = {k: torch.zeros_like(w) if w.grad is None else w.grad for k, w in weights.items() if w.requires_grad}
    outputs = {"logits": logits.detach(), "token_loss": loss.detach().view(ids.shape[0], -1)}
    return outputs, {"grad." + k: v for k, v in fused(grads).items()}


def cca_qkv(w, config, x):
    """q, k (after norm, before RoPE) and v of one document x [B, S, D]; heads on dim 1."""
    n, g, d = config["n_heads"], config["n_kv_heads"], config["head_dim"]
    n0, n1, s = config.get("k_seq", 2), config.get("k_ch", 2), x.shape[1]
    z, current, delayed = (x @ w["proj.weight"].T).split([(n + g) * d, g * d // 2, g * d // 2], -1)
    padded = torch.nn.functional.pad(z, (0, 0, n0 + n1 - 2, 0))
    a = w["b0"] + sum(padded[:, i:i + s + n1 - 1] * w["w0"][i] for i in range(n0))
    taps = torch.cat([a.unflatten(-1, (n + g, d))[:, i:i + s] for i in range(n1)], -1)
    u = torch.einsum("bshi,hio->bsho", taps, w["w1"]) + w["b1"]
    q0, k0 = z[..., :n * d].unflatten(-1, (n, d)), z[..., n * d:].unflatten(-1, (g, d))
    mean_q = (q0 + k0.repeat_interleave(n // g, 2)) / 2
    mean_k = mean_q.unflatten(2, (g, n // g)).mean(3)
    q, k = u[:, :, :n] + mean_q, u[:, :, n:] + mean_k
    q, k = (t * torch.rsqrt(t.square().sum(-1, keepdim=True) + 1e-12) * d ** 0.5 for t in (q, k))
    k = k * w["temp"].exp()[:, None]
    v = torch.cat([current, torch.nn.functional.pad(delayed[:, :-1], (0, 0, 1, 0))], -1)
    return q.transpose(1, 2), k.transpose(1, 2), heads(v, g)


def run_layer(file, dtype):
    """(outputs, gradients) of one CCA layer file."""
    with safe_open(file, "pt") as stored:
        metadata = stored.metadata()
    config, documents = (json.loads(metadata[key]) for key in ("config", "doc_lens"))
    tensors = load_file(file)
    w = {k[5:]: tensors[k[5:]].to(dtype).requires_grad_() for k in tensors if k.startswith("grad.")}
    x = tensors["x"].to(dtype).requires_grad_()
    width = int(config["head_dim"] * config.get("rope_frac", 1))
    parts = []
    for document in x.split(documents or [x.shape[1]], 1):
        q, k, v = cca_qkv(w, config, document)
        q, k = (rotate(t, config.get("rope_theta", 1e4), width) for t in (q, k))
        y = joined(attend(q, k, v)) @ w["o.weight"].T
        parts.append((*(t.transpose(1, 2) for t in (q, k, v)), y))
    q, k, v, y = (torch.cat(part, 1) for part in zip(*parts))
    y.backward(tensors["dy"].to(dtype))
    outputs = {"q": q.detach(), "k": k.detach(), "v": v.detach(), "y": y.detach()}
    return outputs, {"dx": x.grad, **{"grad." + k: t.grad for k, t in w.items()}}


def distance(got, want):
    return ((got.double() - want.double()).norm() / want.double().norm().clamp_min(1e-30)).item()


def worst(got, want):
    return max(distance(got[name], want[name]) for name in want)


def measure(run, path, stored, limits):
    """Naive errors of one case, and whether float64 agrees with the stored reference."""
    (wide, wide_grads), (narrow, narrow_grads) = run(path, torch.float64), run(path, torch.float32)
    naive = {"outputs": worst(narrow, wide), "gradients": worst(narrow_grads, wide_grads)}
    if "token_loss" in wide:
        error = narrow["token_loss"].double() - wide["token_loss"]
        naive["token_loss"] = error.square().mean().sqrt().item()
    wanted = {k for k in stored if k.startswith("grad.")}
    assert wanted <= set(wide_grads), wanted - set(wide_grads)
    off = (worst(wide, {k: stored[k] for k in wide}), worst(wide_grads, {k: stored[k] for k in wide_grads}))
    print(f"{path.stem:24} naive outputs {naive['outputs']:.2e} gradients {naive['gradients']:.2e};"
          f" float64 against the reference {off[0]:.1e} {off[1]:.1e}")
    return naive, off[0] <= limits[0] and off[1] <= limits[1]


def main(argv):
    folder = Path(argv[1] if len(argv) > 1 else Path(__file__).parent)
    torch.set_num_threads(1)
    cases, agree = {}, True
    for name in MODELS:
        stored = load_file(folder / name / "reference.safetensors")
        cases[name], good = measure(run_model, folder / name, stored, (2e-6, 1e-5))
        agree &= good
    for file in sorted((folder / "cca_layers").glob("*.safetensors")):
        cases[file.stem], good = measure(run_layer, file, load_file(file), (1e-10, 1e-10))
        agree &= good
    made = f"tests/golden/naive_float.py, PyTorch {torch.__version__}, float32 against float64, one thread"
    report = {"made_by": made, "cases": {k: {m: float(f"{v:.2e}") for m, v in c.items()} for k, c in cases.items()}}
    (Path(__file__).parent / "naive_f32.json").write_text(json.dumps(report, indent=2) + "\n")
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv))
