"""Runs of `train`, some beside each other, and what their metrics say."""
import argparse
import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path


def parser_of(doc, steps):
    """What every comparison takes: the program, the text, the held-out text, the folder of runs."""
    parser = argparse.ArgumentParser(description=doc,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train")
    parser.add_argument("text")
    parser.add_argument("validation")
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=steps)
    return parser


def metrics(run):
    """Steps and events of a run, in order."""
    lines = [json.loads(line) for line in open(Path(run) / "metrics.jsonl", encoding="utf8")]
    return [m for m in lines if "event" not in m], [m for m in lines if "event" in m]


def last_validation(run):
    return [m["val_loss"] for m in metrics(run)[1] if m["event"] == "eval"][-1]


def train(binary, config, run, settings):
    """Trains into the folder `run`; raises with the program's words when it fails."""
    command = [binary, "--config", config, "--set", f"run.dir={run}"]
    for key, value in settings.items():
        command += ["--set", f"{key}={value}"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{run}: {(done.stdout + done.stderr)[-2000:]}")


def train_all(binary, runs, jobs):
    """runs: [(config, folder, settings)], `jobs` at a time."""
    with ThreadPoolExecutor(jobs) as pool:
        for done in [pool.submit(train, binary, *run) for run in runs]:
            done.result()
