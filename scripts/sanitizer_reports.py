#!/usr/bin/env python3
"""Judges what processes of sanitizer builds left behind (log_path), whatever became of their tests.

  scripts/sanitizer_reports.py FOLDER

A killed rank or a refused config hides an error of its process behind the one that a test expects;
here every report counts. Left out are leaks of which no frame is this project's: Open MPI keeps
memory of plugins that it has unloaded, for which a suppression of LeakSanitizer would have no name.
Prints each different report once, the number of processes that made it, and the counts last.
Exit 0: none of this project; 1: there are some; 2: no such folder.
"""
import re
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LEAK = re.compile(r"^(?:Direct|Indirect) leak of ")
START = re.compile(r"ERROR: \w+Sanitizer|: runtime error: |WARNING: ThreadSanitizer")
FRAME = re.compile(r"^ +#\d+ ")
# Paths of a build that ccache has seen begin at the build folder.
OWN = re.compile(r"\bstrait::| (?:\.\.|" + re.escape(str(ROOT)) + r")/(?:src|kernels|tests)/")
PROCESS = re.compile(r"==\d+==|\(pid=\d+\)|\b0x[0-9a-f]+\b|\bBuildId: \w+")


def reports_of(text):
    """The reports of one process; leaks one by one."""
    reports, lines = [], []
    leaks = False

    def close():
        if lines:
            reports.append("\n".join(lines).strip())
            lines.clear()

    for line in text.splitlines():
        if START.search(line):
            close()
            leaks = "LeakSanitizer" in line
            if leaks:
                continue
        if leaks:
            if LEAK.match(line):
                close()
            elif not FRAME.match(line):
                continue
        if lines or START.search(line) or LEAK.match(line):
            lines.append(line)
    close()
    return reports


def is_own(report):
    """Whether this project has a part in it; what is no leak always counts."""
    frames = [line for line in report.splitlines() if FRAME.match(line)]
    return not LEAK.match(report) or any(OWN.search(frame) for frame in frames)


def main(argv):
    if len(argv) != 2 or not Path(argv[1]).is_dir():
        print(__doc__ if len(argv) != 2 else f"sanitizer_reports: {argv[1]}: no such folder")
        return 2
    own, foreign = Counter(), 0
    files = sorted(path for path in Path(argv[1]).iterdir() if path.is_file())
    shown = {}
    for path in files:
        for report in reports_of(path.read_text(encoding="utf-8", errors="replace")):
            if is_own(report):
                key = PROCESS.sub("", report)
                own[key] += 1
                shown.setdefault(key, (path.name, report))
            else:
                foreign += 1
    for key, count in own.most_common():
        name, report = shown[key]
        print(f"{name}{f' and {count - 1} more' if count > 1 else ''}:\n{report}\n")
    print(f"sanitizer_reports: {sum(own.values())} reports, {len(own)} different; "
          f"{foreign} leaks of libraries alone left out; {len(files)} processes left a report")
    return 1 if own else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
