#!/usr/bin/env python3
"""Compares the loss curves of two runs.

usage: compare_losses.py RUN_A RUN_B [--relative X]

Prints the largest |a - b| / b over the steps; its limit is X (default 0: equal).

Exit code 0 within the limit, 1 over it, 2 when a curve is missing or the lengths differ.
"""
import argparse
import json
import pathlib
import sys


def fail(message):
    print(f"compare_losses: {message}", file=sys.stderr)
    sys.exit(2)


def losses(run):
    path = pathlib.Path(run) / "metrics.jsonl"
    try:
        lines = [json.loads(line) for line in path.read_text().splitlines()]
    except (OSError, json.JSONDecodeError) as error:
        fail(f"{path}: {error}")
    return [line["loss"] for line in lines if "loss" in line]


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("a")
    parser.add_argument("b")
    parser.add_argument("--relative", type=float, default=0.0)
    options = parser.parse_args()
    a, b = losses(options.a), losses(options.b)
    if not a or len(a) != len(b):
        fail(f"{len(a)} and {len(b)} steps; both runs need the same number")
    worst = max(abs(x - y) / abs(y) for x, y in zip(a, b))
    step = max(range(len(a)), key=lambda i: abs(a[i] - b[i]) / abs(b[i])) + 1
    verdict = "ok" if worst <= options.relative else "FAIL"
    print(f"{verdict}: {len(a)} steps, largest relative difference {worst:.3e} at step {step}, "
          f"limit {options.relative:g}")
    sys.exit(0 if worst <= options.relative else 1)


if __name__ == "__main__":
    main()
