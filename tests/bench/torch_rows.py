#!/usr/bin/env python3
"""PyTorch's side of scripts/attention_grid.py: attention cores through cuDNN's SDPA, and the
attention layers of torch_peer.py under torch.compile, both replayed from CUDA graphs.

Reads a JSON object a line and answers each with one:
  {"do": "prepare", "rows": [...]}  compiles the layers among the rows    -> {"seconds": ...}
  {"do": "measure", "row": {...}}   times one row                         -> {"fwd_ms", "bwd_ms"}
or {"error": "..."}. As in attention_bench a round is a graph of calls that follow one another, and
the median of the rounds counts. The forward of a layer runs without gradients; its backward gives
those of the input and of all weights.
"""
import json
import sys
import time

import torch
import torch._dynamo
import torch._functorch.config
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from torch_peer import ATTN, DEV, Cfg, rope_cache

MOST_CALLS = 64


def event_ms(graph):
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    graph.replay()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end)


def captured(call, count, stream):
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        for _ in range(count):
            call()
    return graph


def median_ms(call, row, stream):
    """Of a call on `stream`."""
    for _ in range(2):
        call()
    torch.cuda.synchronize()
    graph = captured(call, 1, stream)
    event_ms(graph)
    count = max(1, min(MOST_CALLS, round(row["round_ms"] / event_ms(graph))))
    graph = captured(call, count, stream)
    for _ in range(row["rounds"]):  # until the clock has settled
        event_ms(graph)
    return sorted(event_ms(graph) for _ in range(row["rounds"]))[row["rounds"] // 2] / count


def config_of(row):
    c = Cfg(
        attn=row["kind"],
        n_heads=row["heads"],
        n_kv_heads=row["groups"],
        head_dim=row["value_dim"],
        causal=row["causal"],
    )
    c.d_rope = row["key_dim"] - row["value_dim"] or c.d_rope
    return c


class Layer:
    """A compiled attention layer for one row."""

    def __init__(self, row):
        self.config = config_of(row)
        self.module = ATTN[self.config.attn](self.config).to(DEV, torch.bfloat16)
        self.compiled = torch.compile(self.module, dynamic=False)
        self.length = row["length"]

    def inputs(self):
        c = self.config
        x = torch.randn(
            1, self.length, c.d_model, device=DEV, dtype=torch.bfloat16, requires_grad=True
        )
        rotated = c.d_rope if c.attn == "mla" else c.head_dim
        return x, *rope_cache(self.length, rotated, c.rope_theta, DEV)

    def calls(self):
        x, cos, sin = self.inputs()
        weights = [x] + list(self.module.parameters())

        def forward():
            with torch.no_grad():
                return self.compiled(x, cos, sin)

        out = self.compiled(x, cos, sin)
        gradient = torch.randn_like(out)

        def backward():
            return torch.autograd.grad(out, weights, gradient, retain_graph=True)

        return forward, backward


def core_calls(row):
    def tensor(heads, dim):
        shape = (1, heads, row["length"], dim)
        return torch.randn(shape, device=DEV, dtype=torch.bfloat16, requires_grad=True)

    q, k = tensor(row["heads"], row["key_dim"]), tensor(row["groups"], row["key_dim"])
    v = tensor(row["groups"], row["value_dim"])

    def run():
        return F.scaled_dot_product_attention(
            q, k, v, is_causal=row["causal"], enable_gqa=row["heads"] != row["groups"]
        )

    def forward():
        with torch.no_grad():
            return run()

    out = run()
    gradient = torch.randn_like(out)
    return forward, lambda: torch.autograd.grad(out, (q, k, v), gradient, retain_graph=True)


def key_of(row):
    return tuple(row[name] for name in ("kind", "heads", "groups", "key_dim", "length", "causal"))


def prepare(rows, layers, stream):
    started = time.time()
    for row in rows:
        layer = layers[key_of(row)] = Layer(row)
        with torch.cuda.stream(stream):
            for call in layer.calls():
                call()
        torch.cuda.synchronize()
    return {"seconds": time.time() - started}


def measure(row, layers, stream):
    with torch.cuda.stream(stream):
        forward, backward = (
            core_calls(row) if row["what"] == "core" else layers[key_of(row)].calls()
        )
        answer = {
            "fwd_ms": median_ms(forward, row, stream),
            "bwd_ms": median_ms(backward, row, stream),
        }
    return answer


def main():
    torch._functorch.config.donated_buffer = False  # a backward is run again and again
    for limit in ("cache_size_limit", "recompile_limit"):
        if hasattr(torch._dynamo.config, limit):
            setattr(torch._dynamo.config, limit, 128)
    layers, stream = {}, torch.cuda.Stream()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            core = request["do"] == "measure" and request["row"]["what"] == "core"
            backends = [SDPBackend.CUDNN_ATTENTION]
            with sdpa_kernel(backends if core else backends + [SDPBackend.FLASH_ATTENTION],
                             set_priority=True):
                answer = (
                    prepare(request["rows"], layers, stream)
                    if request["do"] == "prepare"
                    else measure(request["row"], layers, stream)
                )
        except (RuntimeError, KeyError, AssertionError) as error:
            answer = {"error": f"{type(error).__name__}: {str(error).strip()[:300]}"}
        torch.cuda.empty_cache()
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
