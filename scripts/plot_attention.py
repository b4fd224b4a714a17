#!/usr/bin/env python3
"""Plots what scripts/attention_grid.py measured, as the CCA paper's figures 5 to 18 do.

  scripts/plot_attention.py ATTENTION_JSON [--out DIR]

One PNG for each of layer and core, head dim and mask, in DIR (by default beside the file): time of
the forward and of the backward pass over the length, a line for each method, ours full and the
peer's dashed. Exit 0: written; 2: bad input; 3: this Python has no matplotlib.
"""
import argparse
import json
import sys
from pathlib import Path

from pyplot import load

PASSES = {"fwd_ms": "forward", "bwd_ms": "backward"}


def draw(pyplot, rows, title, out):
    figure, axes = pyplot.subplots(1, 2, figsize=(12, 4.8))
    methods = list(dict.fromkeys(row["name"] for row in rows))
    for axis, (key, name) in zip(axes, PASSES.items()):
        for i, method in enumerate(methods):
            for side, style in (("ours", "o-"), ("peer", "x--")):
                points = sorted((row["length"], row[side][key]) for row in rows
                                if row["name"] == method and side in row)
                if points:
                    label = method if side == "ours" else None
                    axis.plot(*zip(*points), style, color=f"C{i}", label=label, markersize=4)
        axis.set(xscale="log", yscale="log", xlabel="tokens", ylabel="ms", title=name)
        ticks = sorted({row["length"] for row in rows})
        axis.set_xticks(ticks, [str(tick) for tick in ticks], rotation=45)
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=8)
    figure.suptitle(title, fontsize=10)
    figure.tight_layout()
    figure.savefig(out, dpi=90)
    pyplot.close(figure)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    try:
        report = json.loads(arguments.report.read_text(encoding="utf-8"))
        rows = report["rows"]
    except (OSError, ValueError, KeyError) as error:
        print(f"plot_attention: {arguments.report}: {error!r}; expected the attention.json of "
              "scripts/attention_grid.py", file=sys.stderr)
        return 2
    pyplot = load("plot_attention")
    if not pyplot:
        return 3

    folder = arguments.out or arguments.report.parent
    folder.mkdir(parents=True, exist_ok=True)
    groups = {}
    for row in rows:
        groups.setdefault((row["what"], row["value_dim"], row["causal"]), []).append(row)
    for (what, dim, causal), members in sorted(groups.items()):
        mask = "causal" if causal else "full"
        out = folder / f"{what}_d{dim}_{mask}.png"
        peer = "; dashed: PyTorch" if any("peer" in row for row in members) else ""
        draw(pyplot, members, f"attention {what}, D = 2048, d = {dim}, {mask}, batch 1, BF16; "
             f"{report.get('device', '')}{peer}", out)
        print(out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
