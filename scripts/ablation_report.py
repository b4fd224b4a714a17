#!/usr/bin/env python3
"""Writes the report of a sweep that ./ablate ran.

  scripts/ablation_report.py FOLDER

FOLDER is a sweep's, with sweep.json, cells/ and report/results.json (`./ablate` writes the last,
with all verdicts). Writes report/report.html, which holds its plots, report/report.md and
report/plots/*.png, *.svg. Cells that failed or are missing are shown as such.
Exit 0: written; 2: no such sweep; 3: this Python has no matplotlib.
"""
import argparse
import sys
from pathlib import Path

from ablation import gaps, sections
from ablation.document import Document
from ablation.figures import Plots
from ablation.summary import summary
from ablation.sweep import Sweep
from pyplot import load


def make_document(sweep, plots):
    document = Document(sweep.file.get("title") or sweep.file["name"])
    summary(document, sweep)
    sections.losses(document, sweep, plots)
    sections.order(document, sweep, plots)
    gaps.controls(document, sweep)
    gaps.moves(document, sweep)
    sections.curves(document, sweep, plots)
    gaps.context(document, sweep, plots)
    gaps.fit(document, sweep)
    sections.cost(document, sweep, plots)
    sections.matching(document, sweep)
    sections.tuning(document, sweep, plots)
    sections.training(document, sweep, plots)
    sections.cells(document, sweep)
    sections.configs(document, sweep)
    sections.method(document, sweep)
    return document


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    try:
        sweep = Sweep(folder)
    except (OSError, ValueError, KeyError) as error:
        print(f"ablation_report: {folder}: {error!r}; expected the folder of a sweep, with "
              "sweep.json and report/results.json as ./ablate writes them", file=sys.stderr)
        return 2
    pyplot = load("ablation_report")
    if not pyplot:
        return 3

    report = folder / "report"
    document = make_document(sweep, Plots(pyplot, sweep, report / "plots"))
    for name, text in (("report.md", document.markdown()), ("report.html", document.html())):
        (report / name).write_text(text, encoding="utf-8")
        print(report / name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
