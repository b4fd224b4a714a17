#!/usr/bin/env python3
"""Runs tiny sweeps end to end, killed in the middle and gone on with.

  sweep_check.py ABLATE SCRATCH all       every shipped sweep at its tiny size, to the results
  sweep_check.py ABLATE SCRATCH killed    one whole; one killed by SIGKILL several times and one
                                          stopped by SIGTERM on the way: the same cells and results

Exit 0: as it should be; 1: not, with a line for each difference.
"""
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
SWEEPS = sorted(path.stem for path in (ROOT / "configs/ablations").glob("*.json"))
# What a cell computes; the rest of cell.json is when, where and how fast.
COMPUTED = ("variant", "budget", "seed", "hash", "status", "steps", "tokens", "epochs", "lr",
            "val_loss", "val_bpb", "datasets", "counts", "train_flops")
TIMED = {"created", "tok_s", "wall_s", "mfu", "peak_bytes", "device", "started", "ended",
         "seconds", "generated", "path", "folder", "attempts", "resumed"}


def command(ablate, name, folder):
    return [ablate, "--config", name, "--size", "tiny", "--out", str(folder), "--jobs-per-gpu", "2",
            "--device", "cpu", "--no-report", "--results", "none"]


def run(arguments):
    ended = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True)
    if ended.returncode != 0:
        print(ended.stdout[-3000:], ended.stderr[-3000:])
        raise SystemExit(f"sweep_check: {' '.join(arguments)} ended with {ended.returncode}")
    return ended.stdout


def cells_of(folder):
    found = {}
    for path in sorted(folder.rglob("cell.json")):
        cell = json.loads(path.read_text())
        found[str(path.parent.relative_to(folder))] = {k: cell.get(k) for k in COMPUTED}
    return found


def untimed(value):
    """A document without what depends on the clock."""
    if isinstance(value, dict):
        return {k: untimed(v) for k, v in value.items() if k not in TIMED}
    return [untimed(v) for v in value] if isinstance(value, list) else value


def document(path):
    return untimed(json.loads(path.read_text()))


def check_whole(folder):
    """Every cell that sweep.json wants is done, and the results are there."""
    sweep = json.loads((folder / "sweep.json").read_text())
    faults = []
    for wanted in sweep["cells"]:
        cell = json.loads((folder / wanted["path"] / "cell.json").read_text())
        if cell["status"] != "done" or cell["hash"] != wanted["hash"]:
            faults.append(f"{folder}: {wanted['path']}: {cell['status']}, {cell['hash']}")
    results = json.loads((folder / "report/results.json").read_text())
    if not sweep["cells"] or not results:
        faults.append(f"{folder}: holds no results")
    return faults


def finished(folder):
    return sum("cell.json" in files for _, _, files in os.walk(folder))  # folders may vanish


def interrupt(arguments, folder, cells, number):
    """Starts the sweep and sends it a signal once `cells` have ended; returns its exit code."""
    process = subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.DEVNULL)
    while process.poll() is None and finished(folder) < cells:
        time.sleep(0.02)
    time.sleep(0.15)  # into the middle of a cell
    if process.poll() is not None:
        raise SystemExit(f"sweep_check: ended before {cells} cells had; nothing was interrupted")
    process.send_signal(number)
    return process.wait()


def killed(ablate, scratch):
    whole, broken = scratch / "whole", scratch / "broken"
    run(command(ablate, "attention_dense", whole))
    faults = check_whole(whole)
    again = command(ablate, "attention_dense", broken)
    for cells in (3, 13, 20):
        code = interrupt(again, broken, cells, signal.SIGKILL)
        if code != -signal.SIGKILL:
            faults.append(f"SIGKILL after {cells} cells: exit code {code}")
    code = interrupt(again, broken, 24, signal.SIGTERM)
    if code != 0:
        faults.append(f"SIGTERM: exit code {code}, expected 0")
    before = {path: path.stat().st_mtime_ns for path in broken.rglob("cell.json")}
    run(again)
    for path, written in before.items():
        if path.stat().st_mtime_ns != written:
            faults.append(f"{path}: a finished cell ran again")
    faults += check_whole(broken)
    expected, got = cells_of(whole), cells_of(broken)
    if expected.keys() != got.keys():
        faults.append(f"other cells: {sorted(expected.keys() ^ got.keys())}")
    faults += [f"{name}: {cell} became {got.get(name)}" for name, cell in expected.items()
               if cell != got.get(name)]
    for name in ("sweep.json", "report/results.json"):
        if document(whole / name) != document(broken / name):
            faults.append(f"{name}: differs")
    print(f"{len(expected)} cells, whole and in five parts: {len(faults)} differences")
    return faults


def everything(ablate, scratch):
    faults = []
    for name in SWEEPS:
        begin = time.monotonic()
        run(command(ablate, name, scratch / name))
        faults += check_whole(scratch / name)
        print(f"{name}: {finished(scratch / name)} cells, {time.monotonic() - begin:.0f} s")
    return faults


def main():
    ablate, scratch, part = sys.argv[1], Path(sys.argv[2]) / sys.argv[3], sys.argv[3]
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    faults = {"all": everything, "killed": killed}[part](ablate, scratch)
    print("\n".join(faults))
    return 1 if faults or not SWEEPS else 0


if __name__ == "__main__":
    sys.exit(main())
