#!/usr/bin/env python3
"""Plots a run's training and validation loss.

  scripts/plot_loss.py RUN_DIR [--out FILE]

Reads RUN_DIR/metrics.jsonl: one object a step with `step` and `loss` in nats per token, and objects
with "event": "eval" that hold `step`, `val_loss` and `val_bpb`. A step that occurs twice (the run
was resumed from before it) counts as last written. FILE ends in .png or .svg, by default
RUN_DIR/plots/loss.png. Exit 0: written; 2: bad input; 3: this Python has no matplotlib.
"""
import argparse
import json
import math
import sys
from pathlib import Path

from pyplot import load


def read_metrics(path):
    """({step: loss}, {step: (val_loss, val_bpb or None)}) of a metrics.jsonl."""
    train, val = {}, {}
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            if number == len(lines):
                break  # a run that was killed, or is running, may leave half a line
            raise ValueError(f"{path}:{number}: not JSON: {error}") from error
        if row.get("event") == "eval" and row.get("val_loss") is not None:
            val[row["step"]] = (row["val_loss"], row.get("val_bpb"))
        elif "event" not in row and row.get("loss") is not None:
            train[row["step"]] = row["loss"]
    if not train:
        raise ValueError(f"{path}: no step with a loss")
    return train, val


def smooth(values):
    """Exponential mean over about a thirtieth of the run, without the bias of its start."""
    share = 1 - 1 / max(5, len(values) / 30)
    mean, weight, smoothed = 0.0, 0.0, []
    for value in values:
        if math.isfinite(value):
            mean, weight = share * mean + (1 - share) * value, share * weight + (1 - share)
        smoothed.append(mean / weight if weight else value)
    return smoothed


def draw(pyplot, train, val, title, out):
    figure, axes = pyplot.subplots(figsize=(8, 4.5))
    steps = sorted(train)
    losses = [train[step] for step in steps]
    axes.plot(steps, losses, color="tab:blue", alpha=0.3, linewidth=0.8, label="training")
    axes.plot(steps, smooth(losses), color="tab:blue", label="training, smoothed")
    if val:
        steps = sorted(val)
        loss, bits = val[steps[-1]]
        label = f"validation, last {loss:.3f} nats"
        label += f", {bits:.3f} bits per byte" if bits is not None else ""
        axes.plot(steps, [val[step][0] for step in steps], "o-", color="tab:orange", label=label)
    axes.set(xlabel="optimizer step", ylabel="loss [nats per token]", title=title)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.tight_layout()
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=150)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    try:
        train, val = read_metrics(args.run_dir / "metrics.jsonl")
    except (OSError, ValueError, KeyError) as error:
        print(f"plot_loss: {args.run_dir}: {error}; expected a run's folder, with metrics.jsonl "
              "as ./train writes it", file=sys.stderr)
        return 2
    pyplot = load("plot_loss")
    if not pyplot:
        return 3
    out = args.out or args.run_dir / "plots" / "loss.png"
    draw(pyplot, train, val, args.run_dir.resolve().name, out)
    print(out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
