#!/usr/bin/env python3
"""Training steps of the bench presets beside PyTorch, and what their time is made of.

usage: gpu_bench.py BUILD_DIR OUT_DIR [--presets NAME ...] [--more] [--no-peer] [--steps N]
                                      [--warm]

Runs op_bench (the device's ceilings and every op), then for each preset of configs/bench: ./train
with a profile of its last steps, and tests/bench/torch_peer.py with both of its attention backends
on the same shapes; all on the GPU present, one after the other. Prints a table and writes
OUT_DIR/bench.json, first without the peer. --more adds the presets with four micro-batches a step
and qwen2_1b5, which have no peer here. --warm only runs the peer once, which leaves what it
compiles in TORCHINDUCTOR_CACHE_DIR.

A card that heat or its power supply held back is told, in the JSON as "slowdown": rates and ratios
are void then.

The floor of a step without its attention core is the sum over its launches of
max(FLOPs / rate measured for that matrix product, bytes / copy bandwidth).

Exit code 0 when everything ran, 1 when something failed.
"""
import argparse
import datetime
import json
import pathlib
import re
import statistics
import subprocess
import sys

from train_runs import memory_of, metrics_of, run, speed_of, train_command

CORE = {"AttentionFwd", "AttentionBwd"}
GEMM = {"Gemm", "GroupedGemm", "GroupedGemmWgrad"}
OPTIMIZER = {"AdamW", "SumSquares", "ClipScale"}
WARMUP = 5  # steps
# Reasons for low clocks other than the power limit, and the share of samples from which they count.
SLOW = ("hardware slowdown", "software thermal", "hardware thermal", "power brake")
SLOW_SHARE = 0.1
PRESETS = ["dense_mha", "dense_cca", "dense_ccgqa"]
PEER_BATCH = {"dense": 4, "moe": 8}  # as in the presets
FOUR = {"train.batch_size": 16, "train.micro_batch": 4}  # micro-batches of the presets' batch
# Name in the table, config, settings.
MORE = [(name + " x4", name, FOUR) for name in PRESETS] + [("qwen2_1b5", "qwen2_1b5", {})]


class Ceilings:
    """What op_bench measured: copy bandwidth, the large product, and a rate for each product."""

    def __init__(self, path):
        bench = json.loads(path.read_text())
        self.header = {key: bench[key] for key in ("device", "driver", "revision", "clock_mhz",
                                                   "power_w", "temperature_c", "slowdown")}
        rows = bench["ops"]
        self.copy = 1e9 * next(row["ceiling"] for row in rows if "gb_s" in row)
        self.gemm = 1e12 * statistics.median(row["ceiling"] for row in rows if "tflop_s" in row)
        self.rates = {}
        for row in rows:
            if "tflop_s" in row:
                rate = 1e12 * row["tflop_s"]
                self.rates.setdefault(row["flops"], []).append((row["bytes"], rate))

    def rate(self, flops, bytes_moved):
        """Of the product with these FLOPs whose bytes are nearest; the large one's if none is."""
        rows = self.rates.get(flops)
        if not rows:
            return self.gemm
        return min(rows, key=lambda row: abs(row[0] - bytes_moved))[1]

    def floor_seconds(self, op):
        seconds = op["bytes_each"] / self.copy
        if op["op"] in GEMM and op["flops_each"] > 0:
            seconds = max(seconds,
                          op["flops_each"] / self.rate(op["flops_each"], op["bytes_each"]))
        return seconds * op["launches"]


def slowdown_of(folder):
    """What slowed the card down during the steps of a run; "" where nothing did."""
    seen = [line["gpu_throttle"] for line in metrics_of(folder) if "gpu_throttle" in line]
    counts = {reason: sum(reason in text for text in seen) for reason in SLOW}
    return ", ".join(reason for reason, count in counts.items()
                     if count > 0 and count >= SLOW_SHARE * len(seen))


def step_report(folder, ceilings):
    """Speed, memory and the parts of a step of one run."""
    profile = json.loads((folder / "profile.json").read_text())

    def milliseconds(ops):
        return 1e3 * sum(op["seconds"] for op in profile["ops"] if ops(op["op"])) / profile["steps"]

    floor = sum(ceilings.floor_seconds(op) for op in profile["ops"] if op["op"] not in CORE)
    total = milliseconds(lambda op: True)
    core = milliseconds(lambda op: op in CORE)
    rest = milliseconds(lambda op: op not in CORE | GEMM | OPTIMIZER)
    return {
        "data": json.loads((folder / "config.json").read_text())["data"]["train"],
        **speed_of(folder, WARMUP, -profile["steps"]),
        **memory_of(folder),
        "profiled_ms": {"all": total, "attention core": core,
                        "products": milliseconds(lambda op: op in GEMM),
                        "optimizer": milliseconds(lambda op: op in OPTIMIZER), "rest": rest},
        "slowdown": slowdown_of(folder),
        "rest_share": rest / total,
        "floor_ms": 1e3 * floor / profile["steps"],
        "over_floor": (total - core) / (1e3 * floor / profile["steps"]),
        "ops": profile["ops"],
    }


def train(arguments, name, config, settings, ceilings):
    folder = arguments.out / f"bench_{name.replace(' ', '_')}"
    subprocess.run(["rm", "-rf", folder], check=True)
    micro_batches = settings.get("train.batch_size", 0) // settings.get("train.micro_batch", 1)
    last = arguments.steps if micro_batches <= 1 else max(WARMUP + 5, arguments.steps // 2)
    settings = settings | {"run.dir": folder, "run.device": "cuda", "train.steps": last}
    command = train_command(arguments.build, f"configs/bench/{config}.json", settings)
    run([*command, "--profile", f"steps={last - 1}:{last}"], folder.with_suffix(".log"))
    return step_report(folder, ceilings)


def run_peer(arguments, family, names, steps, log):
    """The peer's output: both backends on every preset of a family, in one process."""
    kinds = [name.split("_")[1] for name in names if name.startswith(family + "_")]
    return run([sys.executable, "tests/bench/torch_peer.py", "train", "--preset", family,
                "--attn", *kinds, "--sdpa", "default", "cudnn", "--n", str(steps),
                "--batch", str(PEER_BATCH[family])], arguments.out / f"{log}_{family}.log")


def families_of(names):
    return sorted({name.split("_")[0] for name in names})


def measure_peer(arguments, presets):
    """Adds the peer of every preset that has one to the presets' rows."""
    for family in families_of(presets):
        text = run_peer(arguments, family, presets, 9, "peer")
        found = re.findall(r"train \S+ (\w+) (\w+): .* ([\d,]+) tokens/s.*= ([\d.]+)% MFU", text)
        for kind, backend, tokens, mfu in found:
            row = presets[f"{family}_{kind}"]
            row.setdefault("peer", {})[backend] = {"tok_s": float(tokens.replace(",", "")),
                                                   "mfu": float(mfu) / 100}
            row["ratio"] = row["tok_s"] / max(p["tok_s"] for p in row["peer"].values())


def table(presets):
    lines = [f"{'preset':14} {'tokens/s':>9} {'MFU':>7} {'step ms':>8} {'peer default, cudnn':>20} "
             f"{'ratio':>6} {'rest':>6} {'over floor':>10} {'memory, of plan':>15}"]
    for name, row in presets.items():
        others = ", ".join(f"{p['tok_s']:,.0f}" for p in row.get("peer", {}).values()) or "-"
        ratio = f"{row['ratio']:.2f}" if "ratio" in row else "-"
        lines.append(
            f"{name:14} {row['tok_s']:9,.0f} {100 * row['mfu']:6.1f}% {row['step_ms']:8.1f} "
            f"{others:>20} {ratio:>6} {100 * row['rest_share']:5.1f}% {row['over_floor']:10.3f} "
            f"{row['measured_bytes'] / row['planned_bytes']:15.4f}")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--presets", nargs="*", default=PRESETS)
    parser.add_argument("--more", action="store_true")
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--warm", action="store_true")
    arguments = parser.parse_args()
    arguments.build, arguments.out = arguments.build.resolve(), arguments.out.resolve()
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.warm:
        for family in families_of(arguments.presets):
            run_peer(arguments, family, arguments.presets, 1, "warm")
        return
    ops = arguments.out / "op_bench.json"
    run([arguments.build / "tests/op_bench", "--json", ops], arguments.out / "op_bench.log")
    ceilings = Ceilings(ops)
    report = ceilings.header | {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%FT%TZ"),
        "copy_gb_s": 1e-9 * ceilings.copy,
        "gemm_tflop_s": 1e-12 * ceilings.gemm, "presets": {}}
    print(f"{ceilings.header['device']}: copy {1e-9 * ceilings.copy:,.0f} GB/s, product 8192^3 "
          f"{1e-12 * ceilings.gemm:.0f} TFLOP/s")
    presets = report["presets"]

    def show():
        """What is known so far: a run that is cut short leaves that."""
        (arguments.out / "bench.json").write_text(json.dumps(report, indent=1) + "\n")
        print(table(presets), flush=True)
        for name, why in [("op_bench", report["slowdown"])] + [
                (name, row["slowdown"]) for name, row in presets.items()]:
            if why:
                print(f"SLOWED DOWN, rates and ratios are void: {name}: {why}", flush=True)

    for name in arguments.presets:
        presets[name] = train(arguments, name, name, {}, ceilings)
    show()
    if not arguments.no_peer:
        measure_peer(arguments, presets)
        show()
    if arguments.more:
        for name, config, settings in MORE:
            presets[name] = train(arguments, name, config, settings, ceilings)
        show()


if __name__ == "__main__":
    main()
