#!/usr/bin/env python3
"""Trains a small CCGQA mixture with loss-free balancing and says how evenly its experts are used.

  tests/bench/training/moe_balance.py TRAIN TEXT VALIDATION OUT [--steps N]

A run each for the sign rule (arXiv 2408.15664) and ZAYA1's, and one without balancing, beside each
other. OUT gets their folders and balance.json. Exit 1: an expert of a balanced run may be under 0.2
or over 5 times its share of the last 50 steps' tokens: judged by the mean of each step's least and
greatest load, which no expert's own mean can lie outside of.
"""
import json
import sys

from common import last_validation, metrics, parser_of, train_all

RULES = {
    "none": {},
    "sign": {"model.ffn.moe.selection_bias": "true", "model.ffn.moe.bias_rate": 1e-3},
    "adamw": {"model.ffn.moe.selection_bias": "true", "model.ffn.moe.bias_rate": 1e-3,
              "model.ffn.moe.bias_rule": "adamw"},
}
LAST = 50


def loads(run):
    """Bounds of an expert's load over the run's last steps, and of any one, over the mean load."""
    steps = metrics(run)[0][-LAST:]
    low, high = [m["moe_min_load"] for m in steps], [m["moe_max_load"] for m in steps]
    return sum(low) / LAST, sum(high) / LAST, min(low), max(high)


def main():
    parser = parser_of(__doc__, 2000)
    parser.add_argument("--rules", nargs="+", choices=RULES, default=list(RULES))
    args = parser.parse_args()
    common = {"data.train": args.text, "data.val": args.validation, "train.steps": args.steps}
    train_all(args.train, [("bench/moe_small.json", args.out / name, common | RULES[name])
                           for name in args.rules], len(args.rules))
    rows, bad = {}, False
    for name in args.rules:
        low, high, step_low, step_high = loads(args.out / name)
        rows[name] = {"min_load": low, "max_load": high, "min_load_of_a_step": step_low,
                      "max_load_of_a_step": step_high,
                      "val_loss": last_validation(args.out / name)}
        bad |= name != "none" and (low < 0.2 or high > 5)
        print(f"{name:6s} least {low:.3f} (of one step {step_low:.3f}), greatest {high:.3f} "
              f"({step_high:.3f}) of the mean; validation {rows[name]['val_loss']:.4f}")
    (args.out / "balance.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf8")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
