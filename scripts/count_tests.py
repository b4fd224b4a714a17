#!/usr/bin/env python3
"""Counts what ctest ran, per area and in all, so that nothing is skipped or lost unseen.

  scripts/count_tests.py REPORT...

A REPORT is a folder with tests.json (ctest --show-only=json-v1) and junit.xml (ctest
--output-junit) of one build. A listed test that left no result counts as failed, so does one that
could not start. The last line is "N passed, N failed, N skipped".
Exit 0: all well; 1: a failure, no test at all, or an area without tests; 2: an unreadable report.
"""
import json
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter, defaultdict
from pathlib import Path

# Labels that must each have at least one test in every build.
AREAS = ("kernels", "core", "config", "parallel", "layers", "model", "optim", "input", "io",
         "train", "ablate", "golden", "layouts", "mpi", "house")
OUTCOMES = ("passed", "failed", "skipped")


def outcome_of(case):
    """ctest writes "notrun" both for a test that chose to skip and for one that cannot start."""
    status = case.get("status")
    if status == "run":
        return "passed"
    if status == "disabled":
        return "skipped"
    skipped = case.find("skipped")
    if status == "notrun" and skipped is not None:
        return "skipped" if skipped.get("message", "").startswith("SKIP_") else "failed"
    return "failed"


def labels_of(test):
    values = [p["value"] for p in test.get("properties", []) if p["name"] == "LABELS"]
    return values[0] if values else []


def read_report(folder):
    """[(test name, labels, outcome)] of one build."""
    listed = json.loads((folder / "tests.json").read_text(encoding="utf-8"))["tests"]
    results = defaultdict(list)
    for case in ElementTree.parse(folder / "junit.xml").getroot().iter("testcase"):
        results[case.get("name")].append(outcome_of(case))
    rows = []
    for test in listed:
        left = results[test["name"]]
        # GoogleTest appends parameters that it cannot print as their bytes.
        name = test["name"].partition("  # GetParam()")[0]
        rows.append((name, labels_of(test), left.pop(0) if left else "failed"))
    unlisted = [name for name, left in results.items() if left]
    if unlisted:
        raise ValueError(f"{folder}: results of tests that are not listed: {unlisted[:5]}")
    return rows


def print_areas(rows):
    """Prints a line per label; returns the required areas that have no test."""
    areas = defaultdict(Counter)
    for _, labels, outcome in rows:
        for label in labels or ["(no area)"]:
            areas[label][outcome] += 1
    empty = [area for area in AREAS if not areas[area]]
    for area in sorted(areas):
        counts = areas[area]
        print(f"  {area:<12}" + "".join(f"{counts[o]:>6} {o}" for o in OUTCOMES)
              + ("   <- no tests" if area in empty else ""))
    return empty


def main(argv):
    total, bad = Counter(), False
    if len(argv) < 2:
        print(__doc__)
        return 2
    for folder in map(Path, argv[1:]):
        try:
            rows = read_report(folder)
        except (OSError, ValueError, KeyError, ElementTree.ParseError) as error:
            print(f"count_tests: {folder}: unreadable report: {error}")
            return 2
        print(f"{folder}:")
        empty = print_areas(rows)
        for wanted in ("skipped", "failed"):
            for name in (row[0] for row in rows if row[2] == wanted):
                print(f"  {wanted}: {name}")
        if empty:
            print(f"  areas without a single test: {', '.join(empty)}")
        total.update(row[2] for row in rows)
        bad = bad or bool(empty) or not rows
    print(", ".join(f"{total[outcome]} {outcome}" for outcome in OUTCOMES))
    return 1 if bad or total["failed"] or not total["passed"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
