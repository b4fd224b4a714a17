#!/usr/bin/env python3
"""Trains the same small model on documents as they come and in the order of MixPR.

  scripts/compare_order.py DIR OUT [--tokenizer bytes] [--config tiny_ccgqa] [--seq-len 1024]
                           [--steps 200] [--seeds 3] [--set KEY=VALUE]...

DIR: a folder with train*.jsonl(.xz, .zst) and val*.jsonl files, as prepare_corpus.sh takes it. OUT
gets shards and runs. Documents of a window see each other (data.document_mask=false), or else
their order would not matter. Prints the validation loss of every run and, over the seeds, the mean
of the paired differences with its standard error; results.json in OUT holds the same. Runs that
are finished are not repeated. Exit codes: 0 well; those of ./tokenize and ./train else.
"""
import argparse
import json
import math
import subprocess
import sys
from pathlib import Path


def run(command):
    done = subprocess.run([str(word) for word in command], stdout=subprocess.DEVNULL)
    if done.returncode != 0:
        sys.exit(done.returncode)


def tokenize(args, order):
    prefix = args.out / order
    window = ["--order-window", 4 * args.seq_len] if order == "mixpr" else []
    run([args.programs / "tokenize", "--input", f"{args.dir}/train*", "--output", prefix,
         "--tokenizer", args.tokenizer, "--order", order, *window])
    return f"{prefix}-*.tok"


def val_loss(args, order, shards, seed):
    folder = args.out / f"{order}-{seed}"
    if not (folder / "done").exists():
        subprocess.run(["rm", "-rf", folder], check=True)
        settings = {"run.dir": folder, "run.seed": seed, "data.train": shards,
                    "data.val": f"{args.out / 'val'}-*.tok", "data.tokenizer": args.tokenizer,
                    "data.seq_len": args.seq_len, "data.document_mask": "false",
                    "train.steps": args.steps, "checkpoint.every": -1}
        words = [f"{key}={value}" for key, value in settings.items()] + args.set
        command = [args.programs / "train", "--config", args.config]
        for word in words:
            command += ["--set", word]
        run(command)
        (folder / "done").touch()
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [row["val_loss"] for row in rows if "val_loss" in row][-1]


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("dir", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--tokenizer", default="bytes")
    parser.add_argument("--config", default="tiny_ccgqa")
    parser.add_argument("--seq-len", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--programs", type=Path, default=Path("build/bin"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    run([args.programs / "tokenize", "--input", f"{args.dir}/val*", "--output", args.out / "val",
         "--tokenizer", args.tokenizer])
    shards = {order: tokenize(args, order) for order in ("given", "mixpr")}
    results = []
    for seed in range(1, args.seeds + 1):
        losses = {order: val_loss(args, order, shards[order], seed) for order in shards}
        results.append({"seed": seed, **losses})
        print(f"seed {seed}: given {losses['given']:.4f}, mixpr {losses['mixpr']:.4f}", flush=True)
    apart = [row["mixpr"] - row["given"] for row in results]
    mean = sum(apart) / len(apart)
    spread = math.sqrt(sum((x - mean) ** 2 for x in apart) / max(len(apart) - 1, 1))
    error = spread / math.sqrt(len(apart))
    print(f"mixpr - given: {mean:+.4f} +- {error:.4f} nats (standard error of {len(apart)} pairs)")
    (args.out / "results.json").write_text(json.dumps(
        {"runs": results, "mean_difference": mean, "standard_error": error}, indent=1) + "\n")


if __name__ == "__main__":
    main()
