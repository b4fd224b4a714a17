#!/usr/bin/env python3
"""Trains a run's model in plain PyTorch (CPU, eager, float32) and reports tokens/s of each step.

  python3 tests/bench/torch_peer_cpu.py --config RUN/config.json [--steps 30] [--threads 2]

It reads a *resolved* config, so that both sides train the same shapes: kinds mha, gqa, cca, ccgqa,
dense or mixture-of-experts layers, AdamW, clipping, the same batch. It is written the way people
write eager PyTorch: fused attention where PyTorch has it, a loop over experts with index_add.
Batches are random windows of the bytes of data.train. Attention crosses document borders here,
which costs nothing and spares the peer the mask. Prints one JSON object. Exit 2: cannot run this.
"""
import argparse
import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import nn
from torch.nn import functional as F

ROOT = Path(__file__).resolve().parents[2]


class Unsupported(Exception):
    """A config this peer does not cover."""


def as_namespace(value):
    if isinstance(value, dict):
        return SimpleNamespace(**{key: as_namespace(item) for key, item in value.items()})
    return value


def require(ok, what):
    if not ok:
        raise Unsupported(what)


def rotation(length, channels, theta):
    """cos and sin [S, r/2] of position * theta^(-2i/r)."""
    rates = theta ** (-torch.arange(0, channels, 2, dtype=torch.float32) / channels)
    angles = torch.arange(length, dtype=torch.float32)[:, None] * rates
    return angles.cos(), angles.sin()


def rotate(x, cos, sin):
    """Rotates the pairs (i, i + r/2) of the first r channels of x [B, heads, S, d]."""
    half = cos.shape[-1]
    low, high, rest = x[..., :half], x[..., half:2 * half], x[..., 2 * half:]
    return torch.cat([low * cos - high * sin, low * sin + high * cos, rest], dim=-1)


def heads_of(x, count):
    """[B, S, count * d] -> [B, count, S, d]."""
    return x.unflatten(-1, (count, -1)).transpose(1, 2)


class Attention(nn.Module):
    """Projections, RoPE and the attention core; qkv() is what the kinds differ in."""

    def __init__(self, model):
        super().__init__()
        spec = model.attention
        require(spec.causal and spec.window == 0 and not spec.rope.interleaved,
                "the peer covers causal attention without a window, half-split RoPE")
        self.heads, self.kv_heads, self.dim = spec.n_heads, spec.n_kv_heads, spec.head_dim
        self.q_width, self.kv_width = self.heads * self.dim, self.kv_heads * self.dim
        self.to_qkv = nn.Linear(model.d_model, self.q_width + 2 * self.kv_width, bias=False)
        self.to_out = nn.Linear(self.q_width, model.d_model, bias=False)
        self.theta, self.rotated = spec.rope.theta, int(spec.rope.fraction * self.dim)

    def forward(self, x):
        q, k, v = self.qkv(x)
        if self.rotated:
            cos, sin = rotation(x.shape[1], self.rotated, self.theta)
            q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        grouped = self.heads != self.kv_heads
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=grouped)
        return self.to_out(out.transpose(1, 2).flatten(2))


class GroupedQuery(Attention):
    def __init__(self, model):
        super().__init__(model)
        self.qk_norm = model.attention.qk_norm
        if self.qk_norm:
            self.q_norm = nn.RMSNorm(self.dim, model.norm_eps)
            self.k_norm = nn.RMSNorm(self.dim, model.norm_eps)

    def qkv(self, x):
        q, k, v = self.to_qkv(x).split([self.q_width, self.kv_width, self.kv_width], -1)
        q, k = heads_of(q, self.heads), heads_of(k, self.kv_heads)
        if self.qk_norm:
            q, k = self.q_norm(q), self.k_norm(k)
        return q, k, heads_of(v, self.kv_heads)


class Compressed(Attention):
    """CCA and CCGQA (arXiv 2510.04476): convolutions, qk-mean, value shift, normed q and k."""

    def __init__(self, model):
        super().__init__(model)
        self.cca = model.attention.cca
        width, heads = self.q_width + self.kv_width, self.heads + self.kv_heads
        self.taps = (self.cca.taps_depthwise if self.cca.convs >= 1 else 1,
                     self.cca.taps_grouped if self.cca.convs == 2 else 1)
        if self.cca.convs >= 1:
            self.depthwise = nn.Conv1d(width, width, self.taps[0], groups=width)
        if self.cca.convs == 2:
            self.per_head = nn.Conv1d(width, width, self.taps[1], groups=heads)
        exponential = self.cca.key_temperature == "exp"
        self.temperature = nn.Parameter(torch.full((self.kv_heads, 1, 1), float(not exponential)))

    def mix(self, latent):
        """Both causal convolutions over [B, S, width], their history of zeros put in front once."""
        history = sum(self.taps) - 2
        mixed = F.pad(latent.transpose(1, 2), (history, 0))
        if self.cca.convs >= 1:
            mixed = self.depthwise(mixed)
        if self.cca.convs == 2:
            mixed = self.per_head(mixed)
        return mixed.transpose(1, 2)

    def unit(self, x):
        return x * (self.dim ** 0.5 * torch.rsqrt(x.square().sum(-1, keepdim=True) + 1e-12))

    def qkv(self, x):
        latent, v = self.to_qkv(x).split([self.q_width + self.kv_width, self.kv_width], -1)
        mixed = self.mix(latent)
        q = heads_of(mixed[..., :self.q_width], self.heads)
        k = heads_of(mixed[..., self.q_width:], self.kv_heads)
        if self.cca.qk_mean:
            group = self.heads // self.kv_heads
            q0 = heads_of(latent[..., :self.q_width], self.heads)
            k0 = heads_of(latent[..., self.q_width:], self.kv_heads)
            mean = (q0 + k0.repeat_interleave(group, 1)) / 2
            q = q + mean
            k = k + mean.unflatten(1, (self.kv_heads, group)).mean(2)
        if self.cca.value_shift:
            now, before = v.split([(self.kv_width + 1) // 2, self.kv_width // 2], -1)
            v = torch.cat([now, F.pad(before[:, :-1], (0, 0, 1, 0))], -1)
        factor = self.temperature
        if self.cca.key_temperature == "exp":
            factor = factor.exp()
        return self.unit(q), self.unit(k) * factor, heads_of(v, self.kv_heads)


class SwiGlu(nn.Module):
    def __init__(self, width, hidden):
        super().__init__()
        self.gate_up = nn.Linear(width, 2 * hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x):
        gate, up = self.gate_up(x).chunk(2, -1)
        return self.down(F.silu(gate) * up)


class Experts(nn.Module):
    """Routed and shared SwiGLU experts; keeps this pass's balance and z-losses in `extra_loss`."""

    def __init__(self, model):
        super().__init__()
        moe = self.moe = model.ffn.moe
        require(moe.groups == 1, "the peer has no expert groups")
        self.router = nn.Linear(model.d_model, moe.n_experts, bias=False)
        self.experts = nn.ModuleList(SwiGlu(model.d_model, moe.d_expert)
                                     for _ in range(moe.n_experts))
        self.shared = nn.ModuleList(SwiGlu(model.d_model, moe.d_expert)
                                    for _ in range(moe.n_shared))
        self.register_buffer("bias", torch.zeros(moe.n_experts))
        self.register_buffer("counts", torch.zeros(moe.n_experts))
        self.extra_loss = 0.0

    def route(self, logits):
        """(expert, weight), each [T, K]; sets extra_loss from logits [B, S, E]."""
        moe = self.moe
        softmax = moe.score == "softmax"
        scores = logits.softmax(-1) if softmax else logits.sigmoid()
        choice = scores + self.bias if moe.selection_bias else scores
        expert = choice.topk(moe.top_k, -1).indices
        weight = scores.gather(-1, expert)
        if moe.renormalise:
            weight = weight / (weight.sum(-1, keepdim=True) + 1e-20)
        self.extra_loss = 0.0
        if moe.aux_coef:
            share = F.one_hot(expert, moe.n_experts).sum(2).float().mean(1) / moe.top_k
            mean = (scores if softmax else scores / scores.sum(-1, keepdim=True)).mean(1)
            self.extra_loss = moe.aux_coef * moe.n_experts * (share * mean).sum(-1).mean()
        if moe.z_coef:
            self.extra_loss = self.extra_loss + moe.z_coef * logits.logsumexp(-1).square().mean()
        return expert.flatten(0, 1), (weight * moe.scale).flatten(0, 1)

    def forward(self, x):
        expert, weight = self.route(self.router(x))
        tokens = x.flatten(0, 1)
        out = torch.zeros_like(tokens)
        for index, network in enumerate(self.experts):
            row, slot = (expert == index).nonzero(as_tuple=True)
            out = out.index_add(0, row, network(tokens[row]) * weight[row, slot, None])
        for network in self.shared:
            out = out + network(tokens)
        if self.moe.bias_rate:
            self.counts += torch.bincount(expert.flatten(), minlength=len(self.bias))
        return out.view_as(x)

    def rebalance(self):
        self.bias += self.moe.bias_rate * (self.counts.mean() - self.counts).sign()
        self.counts.zero_()


KINDS = {"mha": GroupedQuery, "gqa": GroupedQuery, "cca": Compressed, "ccgqa": Compressed}


class Block(nn.Module):
    def __init__(self, model, layer):
        super().__init__()
        ffn = model.ffn
        routed = ffn.kind == "moe" and layer >= ffn.moe.first_dense
        routed = routed and (layer - ffn.moe.first_dense + 1) % ffn.moe.every == 0
        self.norm1 = nn.RMSNorm(model.d_model, model.norm_eps)
        self.norm2 = nn.RMSNorm(model.d_model, model.norm_eps)
        self.attention = KINDS[model.attention.kind](model)
        self.ffn = Experts(model) if routed else SwiGlu(model.d_model, ffn.d_ff)

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.ffn(self.norm2(x))


class Transformer(nn.Module):
    def __init__(self, model):
        super().__init__()
        require(model.attention.kind in KINDS, f"the peer has no {model.attention.kind} attention")
        self.embedding = nn.Embedding(model.vocab_size, model.d_model)
        self.blocks = nn.ModuleList(Block(model, i) for i in range(model.n_layers))
        self.norm = nn.RMSNorm(model.d_model, model.norm_eps)
        self.head = nn.Linear(model.d_model, model.vocab_size, bias=False)
        if model.tie_embeddings:
            self.head.weight = self.embedding.weight
        for parameter in self.parameters():
            if parameter.dim() == 2:
                nn.init.normal_(parameter, std=model.init_std)

    def loss(self, ids):
        """(cross-entropy, with the routers' losses added) of ids [B, S + 1]."""
        x = self.embedding(ids[:, :-1])
        for block in self.blocks:
            x = block(x)
        loss = F.cross_entropy(self.head(self.norm(x)).flatten(0, 1), ids[:, 1:].flatten())
        return loss, loss + sum(getattr(block.ffn, "extra_loss", 0.0) for block in self.blocks)


def make_optimizer(network, spec):
    groups = [{"params": [p for p in network.parameters() if p.dim() >= 2],
               "weight_decay": spec.weight_decay},
              {"params": [p for p in network.parameters() if p.dim() < 2], "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=spec.lr, betas=(spec.beta1, spec.beta2), eps=spec.eps)


def train_step(network, optimizer, config, batch):
    """One optimizer step over `batch` [sequences, S + 1]; returns its mean loss."""
    train = config.train
    size = train.micro_batch * config.parallel.dp or train.batch_size
    optimizer.zero_grad(set_to_none=True)
    total = 0.0
    for chunk in batch.split(size):
        loss, objective = network.loss(chunk)
        (objective * (len(chunk) / len(batch))).backward()
        total += loss.item() * len(chunk) / len(batch)
    if config.optim.clip_norm:
        nn.utils.clip_grad_norm_(network.parameters(), config.optim.clip_norm)
    optimizer.step()
    for block in network.blocks:
        if isinstance(block.ffn, Experts) and block.ffn.moe.bias_rate:
            block.ffn.rebalance()
    return total


def load_bytes(name):
    path = next((p for p in (Path(name), ROOT / name) if p.is_file()), None)
    require(path is not None and path.suffix == ".txt", f"data.train is no text file: {name}")
    return torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8)


def run(config, steps, threads):
    torch.set_num_threads(threads)
    torch.manual_seed(config.run.seed)
    network = Transformer(config.model)
    optimizer = make_optimizer(network, config.optim)
    text, length = load_bytes(config.data.train), config.data.seq_len + 1
    losses, speeds = [], []
    for _ in range(steps):
        starts = torch.randint(len(text) - length, (config.train.batch_size,))
        batch = torch.stack([text[at:at + length] for at in starts.tolist()]).long()
        started = time.perf_counter()
        losses.append(train_step(network, optimizer, config, batch))
        tokens = batch.shape[0] * (length - 1)
        speeds.append(tokens / (time.perf_counter() - started))
    return {"tok_s": speeds, "loss": losses, "torch": torch.__version__, "threads": threads,
            "parameters": sum(p.numel() for p in network.parameters())}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, required=True, help="config.json of a run")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    try:
        config = as_namespace(json.loads(args.config.read_text(encoding="utf-8")))
        print(json.dumps(run(config, args.steps, args.threads)))
    except AttributeError as error:
        print(f"torch_peer_cpu: {args.config} has no key '{error.name}'; give it the resolved "
              "config.json of a run folder", file=sys.stderr)
        return 2
    except (OSError, ValueError, Unsupported) as error:
        print(f"torch_peer_cpu: {args.config}: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
