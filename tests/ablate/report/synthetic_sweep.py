"""A sweep folder as ./ablate leaves one, of made-up numbers: for tests of the report alone.

Five variants, two budgets, three seeds. One cell failed, one is missing; some cells carry probes,
one variant routes experts. Losses follow a power law of tokens plus an effect of the variant, one
of the seed and noise, from a fixed random state.
"""
import json
import math
import random
from pathlib import Path

VARIANTS = {  # label, effect on the loss, key/value bytes per token, tokens/s, attention kind
    "mha": ("MHA", 0.0, 12288, 410e3, "mha"),
    "gqa": ("GQA 8/2", 0.004, 3072, 430e3, "gqa"),
    "mla": ("MLA", 0.03, 3456, 395e3, "mla"),
    "cca": ("CCA 2/2", -0.012, 3072, 520e3, "cca"),
    "ccgqa": ("CCGQA 8/2 & a <long> name", -0.03, 3072, 440e3, "ccgqa"),
}
BUDGETS = {"15m": 15e6, "60m": 60e6}
SEEDS = (1, 2, 3)
BATCH = 65536
FAILED, MISSING = ("mla", "60m", 3), ("gqa", "60m", 3)


def counts(name):
    total = 43210000 + 1000 * len(name)
    return {"total_parameters": total, "active_parameters": total,
            "non_embedding_parameters": total - 8e6, "attention_parameters": 5e6,
            "train_flops_per_token": 2.6e8 + 1e6 * len(name),
            "kv_bytes_per_token": VARIANTS[name][2], "kv_channels_per_token_layer": 128}


def layers_of(kind, progress):
    """Probe of four layers; what a kind lacks is absent."""
    layers = []
    for layer in range(4):
        one = {"max_logit": 6 + 4 * progress + layer, "rank_v": 40 - 3 * layer,
               "rank_out": 90 - 5 * layer}
        if kind in ("cca", "ccgqa"):
            one |= {"tau_min": 1 - 0.1 * progress, "tau_mean": 1 + 0.2 * progress,
                    "tau_max": 1 + 0.5 * progress, "conv0_taps": [0.3, 0.9],
                    "conv1_taps": [0.4, 0.8]}
        layers.append(one)
    return layers


def metrics(name, tokens, loss_at):
    steps = int(tokens // BATCH)
    speed = VARIANTS[name][3]
    for step in range(1, steps + 1):
        seen = step * BATCH
        if step % max(1, steps // 60) == 0 or step == steps:
            row = {"step": step, "tokens": seen, "loss": loss_at(seen) + 0.02 * math.sin(step),
                   "lr": 2e-3, "grad_norm": 0.5, "step_s": BATCH / speed, "tok_s": speed}
            if name == "ccgqa":
                row |= {"moe_aux": 1.02, "moe_max_load": 1.4, "moe_min_load": 0.7}
            yield row
        if step % max(1, steps // 12) == 0 or step == steps:
            far = 0.1 * (step / steps - 0.4 * (name != "ccgqa") - 0.7 * (name == "mla"))
            yield {"event": "eval", "step": step, "val_loss": loss_at(seen),
                   "val_bpb": loss_at(seen) / 3.0,
                   "by_position": [{"from": at, "loss": loss_at(seen) + gain, "labels": 100}
                                   for at, gain in ((0, 1), (32, far), (64, far / 2), (512, 0))]}
        if step in (steps // 2, steps) and name != "gqa":
            yield {"event": "probe", "step": step, "tokens": 4096,
                   "layers": layers_of(VARIANTS[name][4], step / steps)}


def write(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def write_cell(folder, name, budget, seed, noise):
    path = folder / "cells" / name / budget / f"seed{seed}"
    cell = {"schema": 1, "variant": name, "budget": budget, "seed": seed, "hash": "0" * 16,
            "attempts": 1, "imported": False, "jobs_per_gpu": 1, "device": "made up",
            "revision": "0000000", "counts": counts(name)}
    if (name, budget, seed) == FAILED:
        write(path / "cell.json", cell | {"status": "failed", "exit_code": 3,
                                          "error": "train: out of memory | 3 GiB too much"})
        return
    steps = int(BUDGETS[budget] // BATCH)
    tokens = steps * BATCH

    def loss_at(seen):
        return 3.1 + 9 * (seen / 1e5) ** -0.35 + VARIANTS[name][1] * seen / tokens + noise

    rows = list(metrics(name, tokens, loss_at))
    path.mkdir(parents=True, exist_ok=True)
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows),
                                        encoding="utf-8")
    write(path / "cell.json", cell | {
        "status": "done", "exit_code": 0, "wall_s": tokens / VARIANTS[name][3] + 4, "lr": 2e-3,
        "steps": steps, "tokens": tokens, "epochs": tokens / 13e6, "val_loss": loss_at(tokens),
        "val_bpb": loss_at(tokens) / 3.0, "datasets": [], "tok_s": VARIANTS[name][3],
        "peak_bytes": 3.2e9 + VARIANTS[name][2] * 1e4,
        "train_flops": tokens * counts(name)["train_flops_per_token"]})


def variant(name):
    label, _, _, _, kind = VARIANTS[name]
    return {"name": name, "label": label, "set": {"model.attention.kind": kind},
            "config": {"model": {"attention": {"kind": kind}}}, "counts": counts(name),
            "solved": {"model.ffn.d_ff": 1792} if name != "mha" else {},
            "deviation": 0.0 if name == "mha" else -0.0012,
            "advantage": {"total_parameters": 0.001,
                          "kv_bytes_per_token": VARIANTS[name][2] / 12288 - 1},
            "tuned": {"value": 0.002, "edge": "high" if name == "mla" else None,
                      "losses": [[0.001, 4.01], [0.002, 3.98]]}}


def make(folder):
    """Writes the sweep into `folder` and returns its path."""
    folder = Path(folder)
    state = random.Random(4)
    cells = []
    for budget in BUDGETS:
        for seed in SEEDS:
            shared = state.gauss(0, 0.01)
            for name in VARIANTS:
                noise = shared + state.gauss(0, 0.002)
                cells.append({"variant": name, "budget": budget, "seed": seed, "hash": "0" * 16,
                              "path": f"cells/{name}/{budget}/seed{seed}",
                              "steps": int(BUDGETS[budget] // BATCH)})
                if (name, budget, seed) != MISSING:
                    write_cell(folder, name, budget, seed, noise)
    write(folder / "sweep.json", {
        "schema": 1, "name": "synthetic", "title": "Synthetic: MHA, GQA, MLA, CCA, CCGQA",
        "config": "configs/ablations/synthetic.json", "revision": "0000000",
        "created": "2000-01-01T00:00:00Z", "baseline": "mha", "seeds": list(SEEDS),
        "budgets": [{"name": name, "kind": "tokens", "value": value}
                    for name, value in BUDGETS.items()],
        "reference": {"text": "A made-up order.",
                      "order": [["ccgqa"], ["mha", "gqa"], ["cca"], ["mla"]],
                      "loss": {"mha": 2.297, "mla": 2.321, "gqa": 2.297, "cca": 2.307,
                               "ccgqa": 2.286}},
        "match": {"quantity": "total_parameters", "target": 43210000, "target_variant": "mha",
                  "tolerance": 0.01, "rounding": "nearest",
                  "free": [{"key": "model.ffn.d_ff", "multiple": 64}]},
        "tune": {"key": "optim.lr", "values": [0.001, 0.002], "tokens": 5e6, "seeds": [1]},
        "variants": [variant(name) for name in VARIANTS],
        "not_matched": ["kv_bytes_per_token: 3072 (gqa, -75 % of mha) to 12288 (mha, +0 %); "
                        "advantage mha"],
        "cells": cells})
    return folder
