#!/usr/bin/env python3
"""Compares loss curves of runs.

usage: compare_losses.py A B [A B ...] [--relative X] [--window W] [--steps N]

The curves of all A are averaged, so are those of all B. Prints the largest |a - b| / b over
consecutive windows of W steps (default 1), each the mean of its steps; its limit is X (default 0:
equal). Of each run the first N steps count (default: all).

Exit code 0 within the limit, 1 over it, 2 when a curve is missing or the lengths differ.
"""
import argparse
import json
import pathlib
import statistics
import sys


def fail(message):
    print(f"compare_losses: {message}", file=sys.stderr)
    sys.exit(2)


def losses(run, steps):
    path = pathlib.Path(run) / "metrics.jsonl"
    try:
        lines = [json.loads(line) for line in path.read_text().splitlines()]
    except (OSError, json.JSONDecodeError) as error:
        fail(f"{path}: {error}")
    curve = [line["loss"] for line in lines if "loss" in line]
    if len(curve) < (steps or 1):
        fail(f"{path}: {len(curve)} steps, expected at least {steps or 1}")
    return curve[:steps]


def windows(curves, width):
    """Means over windows of the mean curve."""
    mean = [statistics.fmean(step) for step in zip(*curves)]
    return [statistics.fmean(mean[i:i + width]) for i in range(0, len(mean) - width + 1, width)]


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="RUN")
    parser.add_argument("--relative", type=float, default=0.0)
    parser.add_argument("--window", type=int, default=1)
    parser.add_argument("--steps", type=int)
    options = parser.parse_args()
    if len(options.runs) % 2:
        fail(f"{len(options.runs)} runs; expected pairs of them")
    curves = [losses(run, options.steps) for run in options.runs]
    if len({len(curve) for curve in curves}) > 1:
        fail(f"{sorted({len(curve) for curve in curves})} steps; all runs need the same number")
    if not 1 <= options.window <= len(curves[0]):
        fail(f"--window {options.window}: expected 1 to {len(curves[0])} steps")
    a, b = windows(curves[::2], options.window), windows(curves[1::2], options.window)
    off = [abs(x - y) / abs(y) for x, y in zip(a, b)]
    at = off.index(max(off)) * options.window + 1
    verdict = "ok" if max(off) <= options.relative else "FAIL"
    print(f"{verdict}: {len(curves) // 2} pairs of {len(curves[0])} steps, largest relative "
          f"difference {max(off):.3e} in the window of {options.window} from step {at}, "
          f"limit {options.relative:g}")
    sys.exit(0 if max(off) <= options.relative else 1)


if __name__ == "__main__":
    main()
