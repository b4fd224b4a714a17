#!/usr/bin/env python3
"""Folds the rounds of cpu_step.sh into one JSON object; exit 1 when the peer was faster.

  cpu_step_report.py FOLDER OUT --skip N --facts JSON

FOLDER holds ours<i>/metrics.jsonl and peer<i>.json. The first N steps of every round are warm-up.
A side's speed is the median over its rounds of the round's median.
"""
import argparse
import json
import sys
from pathlib import Path
from statistics import median


def our_rounds(folder, skip):
    for path in sorted(folder.glob("ours*/metrics.jsonl")):
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        yield median([row["tok_s"] for row in rows if "event" not in row][skip:])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--skip", type=int, required=True)
    parser.add_argument("--facts", type=json.loads, required=True)
    args = parser.parse_args()

    ours = list(our_rounds(args.folder, args.skip))
    peers = [json.loads(path.read_text(encoding="utf-8"))
             for path in sorted(args.folder.glob("peer*.json"))]
    theirs = [median(peer["tok_s"][args.skip:]) for peer in peers]
    report = args.facts | {
        "unit": "tokens/s", "warm_up_steps": args.skip, "strait": median(ours),
        "torch_eager": median(theirs), "ratio": median(ours) / median(theirs),
        "strait_rounds": ours, "torch_rounds": theirs, "torch": peers[0]["torch"],
        "parameters": peers[0]["parameters"]}
    text = json.dumps(report, indent=2)
    args.out.write_text(text + "\n", encoding="utf-8")
    print(text)
    return 0 if report["ratio"] >= 1 else 1


if __name__ == "__main__":
    sys.exit(main())
