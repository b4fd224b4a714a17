#!/usr/bin/env python3
"""Rates of a GPU from results of gpu_bench.py and attention_grid.py, for ./plan.

usage: gpu_rates.py OUT.json --steps BENCH.json [...] --ops OP_BENCH.json [...]
                    --cores GRID.json [...] [--links LINKS.json]
                    [--general GENERAL.json]

An op takes FLOPs / its FLOP rate + bytes / its byte rate. Both rates of a product, and the byte
rate of every other op, are least squares of relative errors over the launches of the profiled
steps (of op_bench where no step has the op); the mix of CCA moves bytes at the copy bandwidth
beside its FLOPs. The attention core's rates are those of the steps by head dim and length, and of
the largest core of the grid for the lengths that no step has. Between ranks: bytes that a rank sent
over the time that it stood in collectives, in runs that hid none of it. General kernels, for ops
that have none for Hopper: both rates of an op, and the backward of padded heads of attention.
"""
import argparse
import json
import pathlib
import re

PRODUCTS = {"Gemm", "GroupedGemm", "GroupedGemmWgrad", "SymmetricProduct"}
MIX = {"CcaMixFwd", "CcaMixBwd"}
CORE = {"AttentionFwd", "AttentionBwd"}
LARGE = 0.2  # of the bytes of an op's largest launch: smaller ones tell little about its rate
TINY = 1e5  # bytes: ops without a larger launch take the time of a launch
# Head dim, heads, groups, tokens of a micro-batch, length of the presets of configs/bench.
SHAPES = {"mha": (128, 16, 16, 16384, 4096), "cca": (128, 4, 4, 16384, 4096),
          "ccgqa": (128, 16, 4, 16384, 4096), "qwen2_1b5": (128, 12, 2, 16384, 1024)}


def shape_of(preset):
    return SHAPES.get(re.sub("^dense_", "", preset.split(" ")[0]))


def forward_flops(heads, width, tokens, length):
    """Two products over the causal half."""
    return 2 * heads * width * tokens * length / 2


def one_rate(rows):
    """(amount, seconds) to the rate with the least relative error."""
    terms = [amount / seconds for amount, seconds in rows]
    return sum(term * term for term in terms) / sum(terms)


def two_rates(rows):
    """(FLOPs, bytes, seconds) to both rates."""
    ff = fb = bb = rf = rb = 0
    for flops, moved, seconds in rows:
        f, b = flops / seconds, moved / seconds
        ff, fb, bb, rf, rb = ff + f * f, fb + f * b, bb + b * b, rf + f, rb + b
    determinant = ff * bb - fb * fb
    flops = (rf * bb - rb * fb) / determinant if determinant else 0
    moved = (ff * rb - fb * rf) / determinant if determinant else 0
    if flops <= 0 or moved <= 0:
        return one_rate([(flops, seconds) for flops, _, seconds in rows]), 0
    return 1 / flops, 1 / moved


def op_rates(launches, copy):
    """{op: [(FLOPs, bytes, seconds)]} to rates."""
    rates = {}
    for op, rows in sorted(launches.items()):
        if op in CORE:
            continue
        if op not in PRODUCTS:
            most = max(row[1] for row in rows)
            rows = [row for row in rows if row[1] > 0 and row[1] >= LARGE * most]
        if not rows or max(row[1] for row in rows) < TINY:
            continue
        flops, moved = 0, 0
        if op in PRODUCTS:
            flops, moved = two_rates(rows)
        elif op in MIX:
            left = [(f, max(s - b / copy, 0.1 * s)) for f, b, s in rows]
            flops, moved = one_rate(left), copy
        else:
            moved = one_rate([(b, s) for _, b, s in rows])
        rates[op] = {"flops_per_second": flops, "bytes_per_second": moved}
    return rates


def core_rates(steps, grids):
    found = {}
    for preset, ops in steps:
        shape = shape_of(preset)
        if not shape:
            continue
        width, heads, groups, tokens, length = shape
        flops = forward_flops(heads, 2 * width, tokens, length)
        row = found.setdefault((width, groups < heads, length), {})
        for op in ops:
            if op["op"] in CORE:
                row.setdefault(op["op"], []).append(op["seconds"] / op["launches"] / flops)
    rates = []
    for (width, grouped, length), row in found.items():
        mean = {op: sum(times) / len(times) for op, times in row.items()}
        rates.append((width, grouped, length, 1 / mean["AttentionFwd"],
                      2.5 / mean["AttentionBwd"]))
    largest = {}
    for row in grids:
        key = (row["key_dim"], row["groups"] < row["heads"], row["length"])
        if (row["what"] == "core" and row["causal"] and key not in found
                and row["heads"] * row["length"] >= 65536
                and row["heads"] > largest.get(key, {"heads": 0})["heads"]):
            largest[key] = row
    for (width, grouped, length), row in largest.items():
        flops = forward_flops(row["heads"], row["key_dim"] + row["value_dim"], length, length)
        rates.append((width, grouped, length, 1e3 * flops / row["ours"]["fwd_ms"],
                      2.5e3 * flops / row["ours"]["bwd_ms"]))
    keys = ("key_dim", "grouped", "length", "forward_flops_per_second",
            "backward_flops_per_second")
    return [dict(zip(keys, row)) for row in sorted(rates)]


def general_ops(record):
    rows = {}
    for row in record["ops"]:
        rows.setdefault(row["op"], []).append((row["flops"], row["bytes"], 1e-6 * row["us"]))
    rates = {op: two_rates(launches) for op, launches in rows.items()}
    return {op: {"flops_per_second": flops, "bytes_per_second": moved}
            for op, (flops, moved) in rates.items()}


def general_cores(record):
    rates = []
    for row in record["attention"]:
        flops = forward_flops(row["heads"], row["key_dim"] + row["value_dim"], row["length"],
                              row["length"])
        rates.append({"key_dim": row["key_dim"], "length": row["length"],
                      "backward_flops_per_second": 2.5e3 * flops / row["bwd_ms"]})
    return rates


def link_rates(bench):
    """The fastest run of each number of ranks among those that are to tell a rate."""
    rates = {}
    for row in bench["runs"]:
        if row["tells_rate"]:
            rate = 1e3 * row["bytes_sent"] / row["comm_ms"]
            rates[row["ranks"]] = max(rate, rates.get(row["ranks"], 0))
    return [{"ranks": ranks, "bytes_per_second": rate, "device": bench["device"]}
            for ranks, rate in sorted(rates.items())]


def launches_of(steps, benches):
    launches = {}
    for _, ops in steps:
        for op in ops:
            launches.setdefault(op["op"], []).append(
                (op["flops_each"], op["bytes_each"], op["seconds"] / op["launches"]))
    in_steps = set(launches)
    for row in (row for bench in benches for row in bench["ops"]):
        op = re.match(r"\w+", row["op"])[0]  # "Copy of columns", "ResidualScaleFwd, f32 stream"
        if op not in in_steps:
            launches.setdefault(op, []).append(
                (row.get("flops", 0), row["bytes"], 1e-6 * row["us"]))
    return launches


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    for name in ("--steps", "--ops", "--cores"):
        parser.add_argument(name, type=pathlib.Path, nargs="+", required=True)
    parser.add_argument("--links", type=pathlib.Path)
    parser.add_argument("--general", type=pathlib.Path)
    arguments = parser.parse_args()
    read = lambda paths: [json.loads(path.read_text()) for path in paths]
    benches = read(arguments.steps)
    steps = [(name, row["ops"]) for bench in benches for name, row in bench["presets"].items()]
    ops = read(arguments.ops)
    grids = [row for grid in read(arguments.cores) for row in grid["rows"]]
    newest = max(benches, key=lambda bench: bench["date"])
    copy = 1e9 * newest["copy_gb_s"]
    paths = arguments.steps + arguments.ops + arguments.cores
    paths += [path for path in (arguments.links, arguments.general) if path]
    general = json.loads(arguments.general.read_text()) if arguments.general else None
    rates = {
        "device": newest["device"], "revision": newest["revision"], "date": newest["date"],
        "from": [str(path) for path in paths],
        "copy_bytes_per_second": copy,
        "launch_seconds": 1e-6 * min(row["us"] for bench in ops for row in bench["ops"]),
        "ops": op_rates(launches_of(steps, ops), copy) | (general_ops(general) if general else {}),
        "attention": core_rates(steps, grids),
        "general_attention": general_cores(general) if general else [],
        "links": link_rates(json.loads(arguments.links.read_text())) if arguments.links else []}
    arguments.out.write_text(json.dumps(rates, indent=1) + "\n")


if __name__ == "__main__":
    main()
