#!/usr/bin/env python3
"""The report of a synthetic sweep, as ./ablate and scripts/ablation_report.py make it.

  report_test.py contents|browser WRITE_RESULTS OUT_DIR

contents: texts, tables and files, of a whole sweep and of poor ones; browser: in a headless
Chromium at the widths of a desk and of a phone, with screenshots in OUT_DIR. Exit 0: all well;
1: a check failed; 77: skipped, no matplotlib or no Chromium here.
"""
import csv
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import chromium
import synthetic_sweep

ROOT = Path(__file__).resolve().parents[3]
TABLES, PLOTS = 14, 24  # of the whole synthetic sweep
WIDTHS = {"desktop": (1280, 900, False), "phone": (375, 800, True)}
LAYOUT = """({
  overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  beyond: [...document.querySelectorAll('main *')].filter(
      e => !e.closest('.scroll, pre') &&
           e.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
      .map(e => e.tagName + ' ' + e.className),
  images: document.images.length,
  broken: [...document.images].filter(i => !(i.naturalWidth > 0 && i.width > 100)).length,
  small: [...document.querySelectorAll('main *')].filter(
      e => e.children.length === 0 && e.textContent.trim() &&
           parseFloat(getComputedStyle(e).fontSize) < 12).length,
  tables: [...document.querySelectorAll('table')].map(
      t => [t.rows.length, !!t.closest('.scroll'), t.getBoundingClientRect().height > 20])
})"""
failures = []


def check(condition, what):
    if not condition:
        failures.append(what)
        print(f"FAILED: {what}")


def python_with_matplotlib():
    found = subprocess.run([ROOT / "scripts" / "plot_python.sh"], capture_output=True, text=True,
                           check=False)
    if found.returncode != 0:
        print(f"skipped: no Python with matplotlib: {found.stderr.strip()}")
        sys.exit(77)
    return found.stdout.strip()


def make_report(folder, write_results, python):
    """Judges and reports; returns what write_results printed."""
    judged = subprocess.run([write_results, folder], capture_output=True, text=True, check=True)
    subprocess.run([python, ROOT / "scripts" / "ablation_report.py", folder], check=True,
                   stdout=subprocess.DEVNULL)
    return judged.stdout


class Page(HTMLParser):
    """Text, tables and where things come from."""

    def __init__(self, page):
        super().__init__()
        self.text, self.tables, self.sources, self.open = [], 0, [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tables += tag == "table"
        self.sources += [value for name, value in attrs if name in ("src", "href") and value]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        check(self.open and self.open.pop() == tag, f"</{tag}> closes what is open")

    def handle_data(self, data):
        self.text.append(data)


def check_contents(folder, printed):
    report = folder / "report"
    results = json.loads((report / "results.json").read_text(encoding="utf-8"))
    markdown = (report / "report.md").read_text(encoding="utf-8")
    page = Page((report / "report.html").read_text(encoding="utf-8"))
    text = " ".join("".join(page.text).split())
    check(all(source.startswith(("#", "data:image/svg+xml;base64,")) for source in page.sources),
          "report.html holds all it shows")
    plain = markdown.replace("\\", "")
    for row in results["budgets"][-1]["against_baseline"]:
        check(row["verdict"] in text, f"report.html says: {row['verdict']}")
        check(row["verdict"] in plain, f"report.md says: {row['verdict']}")
        check(row["verdict"] in printed, f"the terminal says: {row['verdict']}")
    for stem in re.findall(r"\(plots/(\w+)\.png\)", markdown):
        for end in ("png", "svg"):
            check((report / "plots" / f"{stem}.{end}").stat().st_size > 2000, f"{stem}.{end}")
    return results, plain, text, page


def whole_sweep(folder, write_results, python):
    results, plain, text, page = check_contents(
        synthetic_sweep.make(folder), make_report(folder, write_results, python))
    check(page.tables == TABLES, f"{TABLES} tables, not {page.tables}")
    for part in ("Validation loss against tokens", "lies at an end of the range tried, and may lie "
                 "beyond it, for: MLA", "28 of 30 cells are finished, 1 failed, 1 missing",
                 "out of memory | 3 GiB", "high end of the range", "advantage mha",
                 "A made-up order.", "model.ffn.d_ff = 1792", "60M tokens a cell (13 of 15 cells: "
                 "provisional)", "Not finished, 60M tokens, seed 3: GQA 8/2; MLA.",
                 "Trained on made up at revision", "(28 cells)"):
        check(part in text, f"report.html says: {part}")
        check(part in plain, f"report.md says: {part}")
    check("Not one noise for all" not in plain, "variants of like noise")
    check("## Controls" not in plain, "no control: the expected order has every variant")
    check("| MLA | never, never, never | -0.010 | never, never | -0.010 |" in plain,
          "a variant that never uses context")
    check("0.001 (+0.0300)" in plain, "how far the next best learning rate is behind")
    changes = {row["a"]: row for row in results["moves"]}
    check(f"| MLA | 2 | {change_of(results, 'mla')} | " in plain, "how a gap moves")
    check(changes["ccgqa"]["seeds"] == 3, "seeds of a move")
    outcomes = {row["claim"]: row["outcome"] for row in results["budgets"][0]["claims"]}
    check(outcomes["MHA < CCA 2/2"] == "contradicted", "an order that differs is called so")
    check(outcomes["CCA 2/2 < MLA"] == "supported", "an order that holds is called so")
    with open(folder / "report" / "cells.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    check(len(rows) == 30, "a row of cells.csv for every cell")
    check([row["status"] for row in rows].count("done") == 28, "states of cells.csv")
    with open(folder / "report" / "comparisons.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    check({row["family"] for row in rows} == {"baseline", "neighbour", "claim", "first"},
          "families")
    again = (folder / "report" / "report.html").read_bytes()
    make_report(folder, write_results, python)
    check(again == (folder / "report" / "report.html").read_bytes(), "twice the same bytes")


def change_of(results, name):
    """Gaps to the baseline at both budgets and their change, by the losses of seeds they share."""
    rows = [{row["name"]: row["losses"] for row in budget["variants"]}
            for budget in results["budgets"]]
    gaps = [[own - base for own, base in zip(row[name], row["mha"]) if own and base]
            for row in rows]
    shared = min(map(len, gaps))
    first, last = (sum(gap[:shared]) / shared for gap in gaps)
    return f"{first:+.4f} | {last:+.4f} | {last - first:+.4f}"


def poor_sweeps(folder, write_results, python):
    """Nothing finished yet; and one seed alone, validated once at the end, without match, tuning,
    reference or probes."""
    path = synthetic_sweep.make(folder / "nothing")
    shutil.rmtree(path / "cells")
    make_report(path, write_results, python)
    text = (path / "report" / "report.md").read_text(encoding="utf-8")
    check("0 of 30 cells are finished, 30 missing" in text, "a sweep that has not begun")
    check("No cell is finished" in text, "nothing to compare is said")

    path = synthetic_sweep.make(folder / "one_seed")
    sweep = json.loads((path / "sweep.json").read_text(encoding="utf-8"))
    sweep |= {"match": None, "tune": None, "reference": None, "not_matched": [], "seeds": [1]}
    sweep["budgets"] = sweep["budgets"][:1]
    sweep["cells"] = [cell for cell in sweep["cells"]
                      if (cell["budget"], cell["seed"]) == ("15m", 1)]
    for variant in sweep["variants"]:
        variant |= {"tuned": None, "solved": {}, "deviation": None}
    (path / "sweep.json").write_text(json.dumps(sweep), encoding="utf-8")
    for metrics in path.glob("cells/*/15m/seed1/metrics.jsonl"):
        lines = [line for line in metrics.read_text(encoding="utf-8").splitlines()
                 if "probe" not in line and "moe" not in line]
        last = max(i for i, line in enumerate(lines) if "eval" in line)
        lines = [line for i, line in enumerate(lines) if i == last or "eval" not in line]
        metrics.write_text("\n".join(lines) + '\n{"event": "ev', encoding="utf-8")
    check_contents(path, make_report(path, write_results, python))
    text = (path / "report" / "report.md").read_text(encoding="utf-8")
    for part in ("at least two seeds of both are needed", "Nothing was matched", "Not tuned",
                 "Not recorded by any cell: max logit", "Training loss against tokens"):
        check(part in text, f"one seed: report.md says: {part}")


def ladder(folder, write_results, python):
    """An order without ties says what share each of its steps has."""
    path = synthetic_sweep.make(folder)
    sweep = json.loads((path / "sweep.json").read_text(encoding="utf-8"))
    sweep["reference"]["order"] = [["ccgqa"], ["cca"], ["mha"], ["mla"]]
    odd = path / "cells" / "gqa" / "15m" / "seed2" / "cell.json"
    cell = json.loads(odd.read_text(encoding="utf-8"))
    odd.write_text(json.dumps(cell | {"val_loss": cell["val_loss"] + 0.5}), encoding="utf-8")
    (path / "sweep.json").write_text(json.dumps(sweep), encoding="utf-8")
    make_report(path, write_results, python)
    text = (path / "report" / "report.md").read_text(encoding="utf-8")
    check("Not one noise for all: seeds of GQA 8/2 scatter by 0.2" in text, "a variant's own noise")
    check("| MLA to MHA | 69 % | 50 % |" in text, "the share of a step, there and here")


def controls(folder, write_results, python):
    """What the expected order leaves out is a control of the first one's gap."""
    path = synthetic_sweep.make(folder)
    sweep = json.loads((path / "sweep.json").read_text(encoding="utf-8"))
    sweep["reference"]["order"] = [["ccgqa"], ["mha", "gqa"], ["mla"]]
    (path / "sweep.json").write_text(json.dumps(sweep), encoding="utf-8")
    results, plain, _, _ = check_contents(path, make_report(path, write_results, python))
    losses = {row["name"]: sum(row["losses"]) / 3 for row in results["budgets"][0]["variants"]}
    share = (losses["cca"] - losses["mha"]) / (losses["ccgqa"] - losses["mha"])
    left = losses["cca"] - losses["ccgqa"]
    check(f"| CCA 2/2 | {100 * share:.0f} % | 3 | {left:+.4f} |" in plain,
          "the share of a control and what it leaves")
    check(f"the controls have: CCA 2/2 {100 * share:.0f} % (3 seeds)." in plain, "said at the top")


def in_browser(folder, write_results, python):
    program = chromium.find()
    if program is None:
        print("skipped: no Chromium (Debian package chromium, or set CHROMIUM)")
        sys.exit(77)
    make_report(synthetic_sweep.make(folder), write_results, python)
    page = folder / "report" / "report.html"
    with chromium.Browser(program) as browser:
        for name, (width, height, mobile) in WIDTHS.items():
            browser.open(page, width, height, mobile)
            found = browser.evaluate(LAYOUT)
            check(found["overflow"] <= 0, f"{name}: {found['overflow']} pixels too wide")
            check(not found["beyond"], f"{name}: beyond the edge: {found['beyond'][:5]}")
            check(found["images"] == PLOTS, f"{name}: {PLOTS} plots, not {found['images']}")
            check(found["broken"] == 0, f"{name}: {found['broken']} images not shown")
            check(found["small"] == 0, f"{name}: {found['small']} texts below 12 pixels")
            check(len(found["tables"]) == TABLES,
                  f"{name}: {TABLES} tables, not {len(found['tables'])}")
            check(all(rows > 1 and scrolls and shown for rows, scrolls, shown in found["tables"]),
                  f"{name}: tables: {found['tables']}")
            browser.screenshot(folder / f"{name}.png")
            print(f"{name}: {found['images']} images, {len(found['tables'])} tables, "
                  f"{folder / name}.png")


def main():
    part, write_results, out = sys.argv[1], sys.argv[2], Path(sys.argv[3]) / sys.argv[1]
    shutil.rmtree(out, ignore_errors=True)
    python = python_with_matplotlib()
    if part == "browser":
        in_browser(out, write_results, python)
    else:
        whole_sweep(out / "whole", write_results, python)
        poor_sweeps(out, write_results, python)
        ladder(out / "ladder", write_results, python)
        controls(out / "controls", write_results, python)
    print(f"{len(failures)} checks failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
