#!/usr/bin/env python3
"""Muon against AdamW on a small dense CCGQA model: the learning rate of each is swept, Muon gets
0.8 times the steps.

  tests/bench/training/muon_sweep.py TRAIN TEXT VALIDATION OUT [--steps N] [--jobs N]
                                     [--rates LR...]

OUT gets the runs and sweep.json. Exit 1: Muon's best validation loss is above AdamW's.
"""
import json
import sys

from common import last_validation, parser_of, train_all

SHARE = {"adamw": 1.0, "muon": 0.8}


def main():
    parser = parser_of(__doc__, 1000)
    parser.add_argument("--jobs", type=int, default=5)
    parser.add_argument("--rates", type=float, nargs="+", default=[2.5e-4, 5e-4, 1e-3, 2e-3, 4e-3])
    args = parser.parse_args()
    names = {(kind, lr): args.out / f"{kind}_{lr:g}" for kind in SHARE for lr in args.rates}
    train_all(args.train, [
        ("bench/dense_small.json", folder,
         {"data.train": args.text, "data.val": args.validation, "optim.kind": kind, "optim.lr": lr,
          "train.steps": round(SHARE[kind] * args.steps)})
        for (kind, lr), folder in names.items()], args.jobs)
    rows = [{"kind": kind, "lr": lr, "steps": round(SHARE[kind] * args.steps),
             "val_loss": last_validation(folder)} for (kind, lr), folder in names.items()]
    (args.out / "sweep.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf8")
    for row in rows:
        print(f"{row['kind']:6s} lr {row['lr']:<8g} {row['steps']} steps: {row['val_loss']:.4f}")
    best = {kind: min(r["val_loss"] for r in rows if r["kind"] == kind) for kind in SHARE}
    print(f"best: AdamW {best['adamw']:.4f}, Muon {best['muon']:.4f} in 0.8 times the steps")
    return 0 if best["muon"] <= best["adamw"] else 1


if __name__ == "__main__":
    sys.exit(main())
