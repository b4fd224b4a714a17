#!/usr/bin/env python3
"""Measures what naive float32 and bfloat16 evaluations of each case here lose.

Each case is evaluated by the plain PyTorch code below (eager, one operator at a time, gradients by
autograd), once in float64 and ORDERS times in each narrow format, each time with the model's
channels in another order: no order of summation is the naive one, and the rounding errors of
tensors with a few elements depend on it. In bfloat16 inputs, weights, what an operator stores, the
probabilities of attention, and the gradients of all of these are rounded; sums are float32; the
router, whose weight is not rounded, the loss and the gradients of weights are float32.

naive_f32.json and naive_bf16.json get an entry a case: the largest distance from the reference,
relative L2, the worst among the outputs and among the gradients; for models also the root mean
square error of a token's loss in nats; crc32 says which reference it was. The float64 run proves
the code: exit code 1 where it disagrees with the reference. Needs torch and safetensors, which the
build does not.

In bfloat16 a token whose experts are nearly tied may choose others, and then nothing is comparable.
So mixtures have a second reference for bfloat16, reference_decided.safetensors: the same weights on
tokens where no choice of an expert is closer than MARGIN, evaluated in float64 by this code, which
the first reference has proven. --draw-tokens draws those tokens and writes these files anew.
"""
import argparse
import dataclasses
import json
import sys
import zlib
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import naive_zaya as zaya

MODELS = ("llama_mha", "llama_gqa", "qwen3_gqa", "qwen3_moe", "qwen3_moe_unnormed",
          "deepseek_v3_mla_dense", "deepseek_v3_mla_moe", "deepseek_v3_no_q_lora",
          "zaya_ccgqa_moe", "zaya_sliding")
MIXTURES = ("qwen3_moe", "qwen3_moe_unnormed", "deepseek_v3_mla_moe", "deepseek_v3_no_q_lora",
            "zaya_ccgqa_moe", "zaya_sliding")
ORDERS = 8
# Closest choices in a second reference: bfloat16 moves logits by up to 0.04 and sigmoid scores by
# up to 0.012, so that no choice changes sides.
MARGIN = {"softmax": 0.06, "sigmoid": 0.03, "zaya": 5e-4}


class Bf16(torch.autograd.Function):
    """Rounds a value to bfloat16, and its gradient on the way back."""

    @staticmethod
    def forward(ctx, x):
        return x.bfloat16().float()

    @staticmethod
    def backward(ctx, grad):
        return grad.bfloat16().float()


@dataclasses.dataclass(frozen=True)
class Format:
    """A dtype to compute in; `keep` is what storing does to a value."""
    name: str
    dtype: torch.dtype
    keep: callable = staticmethod(lambda x: x)


WIDE = Format("float64", torch.float64)
F32 = Format("float32", torch.float32)
BF16 = Format("bfloat16", torch.float32, Bf16.apply)


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


def attend(q, k, v, keep, window=None):
    """Causal softmax attention; q [B, H, S, d], k and v with H or fewer heads. With a window a
    token sees so many, itself included."""
    group = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
    scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
    hidden = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
    if window:
        hidden |= torch.ones_like(hidden).tril(-window)
    return keep(keep(scores.masked_fill(hidden, float("-inf")).softmax(-1)) @ v)


def heads(x, n):
    return x.unflatten(-1, (n, -1)).transpose(1, 2)


def joined(x):
    return x.transpose(1, 2).flatten(2)


class Model:
    """A decoder in Hugging Face layout, read off config.json and the tensor names."""

    def __init__(self, config, weights, keep):
        self.c, self.w, self.keep = config, weights, keep
        self.theta = config["rope_parameters"]["rope_theta"]
        self.margin = float("inf")  # of the closest choice among experts so far

    def linear(self, x, name):
        return self.keep(x @ self.w[name + ".weight"].T)

    def norm(self, x, name, eps):
        return self.keep(rms_norm(x, self.w[name + ".weight"], eps))

    def rotate(self, x, width, interleaved=False):
        return self.keep(rotate(x, self.theta, width, interleaved))

    def gqa(self, x, at):
        c = self.c
        q = heads(self.linear(x, at + "q_proj"), c["num_attention_heads"])
        k = heads(self.linear(x, at + "k_proj"), c["num_key_value_heads"])
        v = heads(self.linear(x, at + "v_proj"), c["num_key_value_heads"])
        if at + "q_norm.weight" in self.w:
            q = self.norm(q, at + "q_norm", c["rms_norm_eps"])
            k = self.norm(k, at + "k_norm", c["rms_norm_eps"])
        q, k = (self.rotate(t, q.shape[-1]) for t in (q, k))
        return self.linear(joined(attend(q, k, v, self.keep)), at + "o_proj")

    def mla(self, x, at):
        c = self.c
        n, nope, rope = c["num_attention_heads"], c["qk_nope_head_dim"], c["qk_rope_head_dim"]
        if at + "q_proj.weight" in self.w:
            q = self.linear(x, at + "q_proj")
        else:
            low = self.norm(self.linear(x, at + "q_a_proj"), at + "q_a_layernorm", 1e-6)
            q = self.linear(low, at + "q_b_proj")
        q_nope, q_rope = heads(q, n).split([nope, rope], -1)
        low = self.linear(x, at + "kv_a_proj_with_mqa")
        low, k_rope = low.split([c["kv_lora_rank"], rope], -1)
        kv = self.linear(self.norm(low, at + "kv_a_layernorm", 1e-6), at + "kv_b_proj")
        k_nope, v = heads(kv, n).split([nope, c["v_head_dim"]], -1)
        q_rope = self.rotate(q_rope, rope, c["rope_interleave"])
        k_rope = self.rotate(k_rope[:, None], rope, c["rope_interleave"])
        k_rope = k_rope.expand(-1, n, -1, -1)
        o = attend(torch.cat([q_nope, q_rope], -1), torch.cat([k_nope, k_rope], -1), v, self.keep)
        return self.linear(joined(o), at + "o_proj")

    def mlp(self, x, at):
        gate, up = self.linear(x, at + "gate_proj"), self.linear(x, at + "up_proj")
        return self.linear(self.keep(torch.nn.functional.silu(gate) * up), at + "down_proj")

    def choose(self, scores, count):
        """The `count` best of each row; notes how close the closest choice was."""
        best = scores.topk(min(count + 1, scores.shape[-1]), -1)
        if count < scores.shape[-1]:
            gap = best.values[..., count - 1] - best.values[..., count]
            self.margin = min(self.margin, gap.min().item())
        return best.indices[..., :count]

    def route(self, x, at):
        """Experts and their weights [T, K] of tokens x [T, D]."""
        c, logits = self.c, x @ self.w[at + "gate.weight"].T
        bias = self.w.get(at + "gate.e_score_correction_bias")
        if bias is None:
            scores = logits.softmax(-1)
            chosen = self.choose(logits, c["num_experts_per_tok"])
        else:
            scores = logits.sigmoid()
            groups = (scores + bias).unflatten(-1, (c["n_group"], -1))
            best = self.choose(groups.topk(2, -1).values.sum(-1), c["topk_group"])
            allowed = torch.zeros(groups.shape[:-1]).scatter(1, best, 1.0).bool()[..., None]
            chosen = groups.masked_fill(~allowed, float("-inf")).flatten(1)
            chosen = self.choose(chosen, c["num_experts_per_tok"])
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
        y = self.keep(y.view_as(x))
        shared = at + "shared_experts."
        return self.keep(y + self.mlp(x, shared)) if shared + "up_proj.weight" in self.w else y

    def logits(self, ids):
        c, w, eps = self.c, self.w, self.c["rms_norm_eps"]
        attention = self.mla if c["model_type"] == "deepseek_v3" else self.gqa
        h = w["model.embed_tokens.weight"][ids]
        for layer in range(c["num_hidden_layers"]):
            at = f"model.layers.{layer}."
            h = self.keep(h + attention(self.norm(h, at + "input_layernorm", eps),
                                        at + "self_attn."))
            mix = self.moe if at + "mlp.gate.weight" in w else self.mlp
            h = self.keep(h + mix(self.norm(h, at + "post_attention_layernorm", eps), at + "mlp."))
        h = self.norm(h, "model.norm", eps)
        return self.linear(h, "model.embed_tokens" if c["tie_word_embeddings"] else "lm_head")


def fused(grads):
    """Expert gradients as the reference stores them: [E, 2F, D] gate rows first, [E, D, F]."""
    out, experts = {}, {}
    for name, grad in grads.items():
        if ".experts." not in name or name.endswith(("experts.gate_up_proj", "experts.down_proj")):
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


def model_dim(name, tensor):
    """Which dim of a tensor runs over the D channels of the model, or None."""
    if name in ("x", "dy", "y", "dx") or name.endswith("experts.gate_up_proj"):
        return 2
    if name.endswith(("experts.down_proj", "gate.down_proj.weight")):
        return 1
    if name.endswith(zaya.STREAM):
        return 0
    if name.endswith(zaya.INNER):
        return None
    if tensor.dim() == 1:
        return 0 if name.endswith(("layernorm.weight", "model.norm.weight")) \
            and "_a_layernorm" not in name else None
    if name.endswith(("o_proj.weight", "down_proj.weight", "o.weight")):
        return 0
    inner = ("q_b_proj.weight", "kv_b_proj.weight", "w0", "w1", "b1", "q", "k", "v")
    return None if name.endswith(inner) else 1


def reorder(tensors, order):
    """The same tensors with their D channels in another order."""
    dims = {k: model_dim(k, t) for k, t in tensors.items()}
    return {k: t if dims[k] is None else t.index_select(dims[k], order)
            for k, t in tensors.items()}


def is_router(name):
    return ".mlp.gate." in name


def load_model(folder, form, order):
    weights = reorder(load_file(folder / "model.safetensors"), order)
    weights = {k: v.to(form.dtype) if is_router(k) else form.keep(v.to(form.dtype))
               for k, v in weights.items()}
    for name, w in weights.items():
        w.requires_grad_(not name.endswith(("e_score_correction_bias", "balancing_biases")))
    config = json.loads((folder / "config.json").read_text())
    model = zaya.Zaya if config["model_type"] == "zaya" else Model
    return model(config, weights, form.keep)


def run_model(folder, reference, form, order):
    """(outputs, gradients) of a folder's model on the reference's tokens."""
    ids = load_file(reference)["input_ids"]
    model = load_model(folder, form, order)
    logits = model.logits(ids)
    scores, labels = logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten()
    loss = torch.nn.functional.cross_entropy(scores, labels, reduction="none")
    loss.mean().backward()
    grads = {k: w.grad for k, w in model.w.items() if w.requires_grad}
    outputs = {"logits": logits.detach(), "token_loss": loss.detach().view(ids.shape[0], -1)}
    grads = fused(reorder(grads, order.argsort()))
    return outputs, {"grad." + k: v for k, v in grads.items()}


def decided_tokens(folder, shape):
    """Random tokens of sequences in which every choice of experts is clear."""
    random = torch.Generator().manual_seed(1)
    config = json.loads((folder / "config.json").read_text())
    order = torch.arange(config["hidden_size"])
    kind = "sigmoid" if "n_group" in config else "softmax"
    if config["model_type"] == "zaya":
        kind = "zaya"
    rows = []
    with torch.no_grad():
        while len(rows) < shape[0]:
            model = load_model(folder, WIDE, order)
            row = torch.randint(model.c["vocab_size"], (1, shape[1]), generator=random)
            model.logits(row)
            if model.margin >= MARGIN[kind]:
                rows.append(row)
    return torch.cat(rows)


def draw_reference(folder):
    """Writes the second reference of a mixture."""
    path = folder / "reference_decided.safetensors"
    ids = decided_tokens(folder, load_file(folder / "reference.safetensors")["input_ids"].shape)
    save_file({"input_ids": ids}, path)
    width = json.loads((folder / "config.json").read_text())["hidden_size"]
    outputs, grads = run_model(folder, path, WIDE, torch.arange(width))
    tensors = {k: v.float().contiguous() for k, v in (outputs | grads).items()}
    save_file(tensors | {"input_ids": ids, "loss": outputs["token_loss"].mean().view(1)}, path)


def cca_qkv(w, config, x, keep):
    """q, k (after norm, before RoPE) and v of one document x [B, S, D]; heads on dim 1."""
    n, g, d = config["n_heads"], config["n_kv_heads"], config["head_dim"]
    n0, n1, s = config.get("k_seq", 2), config.get("k_ch", 2), x.shape[1]
    projected = keep(x @ w["proj.weight"].T)
    z, current, delayed = projected.split([(n + g) * d, g * d // 2, g * d // 2], -1)
    padded = torch.nn.functional.pad(z, (0, 0, n0 + n1 - 2, 0))
    a = keep(w["b0"] + sum(padded[:, i:i + s + n1 - 1] * w["w0"][i] for i in range(n0)))
    taps = torch.cat([a.unflatten(-1, (n + g, d))[:, i:i + s] for i in range(n1)], -1)
    u = keep(torch.einsum("bshi,hio->bsho", taps, w["w1"]) + w["b1"])
    q0, k0 = z[..., :n * d].unflatten(-1, (n, d)), z[..., n * d:].unflatten(-1, (g, d))
    mean_q = (q0 + k0.repeat_interleave(n // g, 2)) / 2
    mean_k = mean_q.unflatten(2, (g, n // g)).mean(3)
    q, k = keep(u[:, :, :n] + mean_q), keep(u[:, :, n:] + mean_k)
    q, k = (t * torch.rsqrt(t.square().sum(-1, keepdim=True) + 1e-12) * d ** 0.5 for t in (q, k))
    tau = w["tau"] if "tau" in w else w["temp"].exp()
    q, k = keep(q), keep(k * tau[:, None])
    v = torch.cat([current, torch.nn.functional.pad(delayed[:, :-1], (0, 0, 1, 0))], -1)
    return q.transpose(1, 2), k.transpose(1, 2), heads(v, g)


def run_layer(file, _, form, order):
    """(outputs, gradients) of one CCA layer file."""
    with safe_open(file, "pt") as stored:
        metadata = stored.metadata()
    config, documents = (json.loads(metadata[key]) for key in ("config", "doc_lens"))
    tensors = load_file(file)
    weights = {k[5:] for k in tensors if k.startswith("grad.")}
    tensors = reorder({k: tensors[k] for k in weights | {"x", "dy"}}, order)
    tensors = {k: form.keep(t.to(form.dtype)) for k, t in tensors.items()}
    w = {k: tensors[k].requires_grad_() for k in weights}
    x = tensors["x"].requires_grad_()
    width = int(config["head_dim"] * config.get("rope_frac", 1))
    parts = []
    for document in x.split(documents or [x.shape[1]], 1):
        q, k, v = cca_qkv(w, config, document, form.keep)
        q, k = (form.keep(rotate(t, config.get("rope_theta", 1e4), width)) for t in (q, k))
        y = form.keep(joined(attend(q, k, v, form.keep)) @ w["o.weight"].T)
        parts.append((*(t.transpose(1, 2) for t in (q, k, v)), y))
    q, k, v, y = (torch.cat(part, 1) for part in zip(*parts))
    y.backward(tensors["dy"])
    back = order.argsort()
    outputs = reorder({"q": q, "k": k, "v": v, "y": y}, back)
    grads = reorder({"dx": x.grad, **{k: t.grad for k, t in w.items()}}, back)
    grads = {k if k == "dx" else "grad." + k: t for k, t in grads.items()}
    return {k: t.detach() for k, t in outputs.items()}, grads


def distance(got, want):
    return ((got.double() - want.double()).norm() / want.double().norm().clamp_min(1e-30)).item()


def worst(got, want):
    return max(distance(got[name], want[name]) for name in want)


def measure(run, path, reference, form, limits):
    """Entry of one case in a narrow format, and whether float64 agrees with the reference."""
    stored = load_file(reference)
    width = stored["x"].shape[2] if "x" in stored else stored["grad.model.norm.weight"].shape[0]
    random = torch.Generator().manual_seed(1)
    wide, wide_grads = run(path, reference, WIDE, torch.arange(width))
    outputs, grads = {k: stored[k] for k in wide}, {k: stored[k] for k in wide_grads}
    off = worst(wide, outputs), worst(wide_grads, grads)
    entry = {"crc32": zlib.crc32(reference.read_bytes()), "outputs": 0.0, "gradients": 0.0}
    for _ in range(ORDERS):
        order = torch.randperm(width, generator=random)
        narrow, narrow_grads = run(path, reference, form, order)
        entry["outputs"] = max(entry["outputs"], worst(narrow, outputs))
        entry["gradients"] = max(entry["gradients"], worst(narrow_grads, grads))
        if "token_loss" in outputs:
            error = narrow["token_loss"].double() - outputs["token_loss"].double()
            loss = error.square().mean().sqrt().item()
            entry["token_loss"] = max(entry.get("token_loss", 0.0), loss)
    print(f"{path.stem:24} {form.name:8} {entry['outputs']:.1e} {entry['gradients']:.1e}"
          f"   float64 {off[0]:.1e} {off[1]:.1e}")
    return entry, off[0] <= limits[0] and off[1] <= limits[1]


def write_table(runs, form, file):
    """Measures every case in one format. Returns whether float64 agreed everywhere."""
    cases, agree = {}, True
    for run, path, reference, limits in runs:
        entry, good = measure(run, path, reference, form, limits)
        cases[path.stem] = {k: v if k == "crc32" else float(f"{v:.2e}") for k, v in entry.items()}
        agree = agree and good
    made = f"tests/golden/naive_float.py, PyTorch {torch.__version__}, {form.name} on one thread"
    file.write_text(json.dumps({"made_by": made, "cases": cases}, indent=2) + "\n",
                    encoding="utf-8")
    return agree


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draw-tokens", nargs="*", choices=MIXTURES, metavar="CASE",
                        help="of these mixtures; without names, of all")
    here = Path(__file__).parent
    torch.set_num_threads(1)
    draw = parser.parse_args().draw_tokens
    for name in MIXTURES if draw == [] else draw or []:
        draw_reference(here / name)
    layers = [(run_layer, file, file, (1e-10, 1e-10))
              for file in sorted((here / "cca_layers").glob("*.safetensors"))]
    agree = True
    for form, second, file in ((F32, (), "naive_f32.json"), (BF16, MIXTURES, "naive_bf16.json")):
        models = []
        for name in MODELS:
            reference = "reference_decided" if name in second else "reference"
            path = here / name / f"{reference}.safetensors"
            models.append((run_model, here / name, path, (2e-6, 1e-5)))
        agree = write_table(models + layers, form, here / file) and agree
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
