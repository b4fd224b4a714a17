#!/usr/bin/env python3
"""Kills or halts a random rank of a run at a random moment; all must stop, and one must say why.

  tests/faults/kill_ranks.py --train build/bin/train [--kills 20] [--hangs 0] [--ranks 3] [--seed 1]
                             [--device cuda] [--resume-ranks N]

Each time the job ends within 30 s with an exit code other than 0; its output names the rank that
was killed, its host, step and last collective, and those of a rank that saw it. A halted one hangs
(SIGSTOP). With --resume-ranks the run saves checkpoints and goes on from the last of them on N
ranks.
Exit 0: always so; 1: not once.
"""
import argparse
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LIMIT = 30
SETTINGS = ["model.d_model=32", "model.n_layers=2", "model.attention.head_dim=8", "data.seq_len=32",
            "model.ffn.moe.d_expert=16", "train.steps=100000",
            "eval.every=1000000", "eval.sample_tokens=0", "eval.sample_prompt=",
            "train.log_every=1000"]


def command(args, folder):
    more = [f"run.dir={folder}", f"run.device={args.device}", f"train.batch_size={2 * args.ranks}",
            f"checkpoint.every={20 if args.resume_ranks else -1}"]
    settings = [part for s in SETTINGS + more for part in ("--set", s)]
    return ["mpirun", "--oversubscribe", "-n", str(args.ranks), args.train, "--config",
            "quickstart", *settings]


def resumes(args, folder):
    """Why the run does not go on for some steps on other ranks; empty if it does."""
    saved = sorted(path.name for path in (folder / "checkpoints").glob("step_*"))
    if not saved:
        return "no checkpoint was left"
    step = int(saved[-1].removeprefix("step_"))
    done = subprocess.run(
        ["mpirun", "--oversubscribe", "-n", str(args.resume_ranks), args.train, "--resume", folder,
         "--set", f"train.steps={step + 5}"], text=True, capture_output=True, check=False)
    if done.returncode != 0:
        return f"--resume on {args.resume_ranks} ranks: {(done.stdout + done.stderr)[-2000:]}"
    print(f"went on from step {step} on {args.resume_ranks} ranks", flush=True)
    return ""


def ranks_of(job):
    """Process ids of the ranks, by rank."""
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            environment = (entry / "environ").read_bytes().split(b"\0")
            parent = (entry / "stat").read_text().rsplit(")", 1)[1].split()[1]
        except (OSError, IndexError):
            continue
        for line in environment:
            if line.startswith(b"OMPI_COMM_WORLD_RANK=") and int(parent) == job.pid:
                found[int(line.split(b"=")[1])] = int(entry.name)
    return found


def one_kill(args, folder, draw, hang):
    """The reason why a fault was not handled as it should be; empty if it was."""
    with tempfile.TemporaryFile("w+") as output:
        job = subprocess.Popen(command(args, folder), stdout=output, stderr=output)
        ranks, deadline = {}, time.time() + 120
        while len(ranks) < args.ranks and time.time() < deadline and job.poll() is None:
            time.sleep(0.05)
            ranks = ranks_of(job)
        metrics = folder / "metrics.jsonl"
        saved = folder / "checkpoints"
        while job.poll() is None and time.time() < deadline and not (
                metrics.exists() and metrics.stat().st_size > 0
                and (not args.resume_ranks or any(saved.glob("step_*")))):
            time.sleep(0.05)
        time.sleep(draw.uniform(0, 3))
        victim = draw.randrange(args.ranks)
        if job.poll() is not None or victim not in ranks:
            output.seek(0)
            return f"the job ended by itself: {output.read()[-2000:]}"
        os.kill(ranks[victim], signal.SIGSTOP if hang else signal.SIGKILL)
        started = time.time()
        try:
            code = job.wait(LIMIT)
        except subprocess.TimeoutExpired:
            job.kill()
            for process in ranks.values():
                try:
                    os.kill(process, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            return f"still there {LIMIT} s after rank {victim} was {'halted' if hang else 'killed'}"
        seconds = time.time() - started
        output.seek(0)
        text = output.read()
    why = "gives no sign of life" if hang else "ended"
    said = re.search(rf"rank {victim} on \S+ \(step (\d+), .* collective .*\) {why}; rank \d+ "
                     r"on .*collective", text)
    if code == 0:
        return "exit code 0"
    if not said:
        return f"no message that names rank {victim}: {text[-2000:]}"
    print(f"rank {victim} of {args.ranks} {'halted' if hang else 'killed'} at step "
          f"{said.group(1)}, stopped after {seconds:.1f} s", flush=True)
    return resumes(args, folder) if args.resume_ranks else ""


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--train", required=True)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--hangs", type=int, default=0, help="ranks that hang, after the kills")
    parser.add_argument("--ranks", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--resume-ranks", type=int, default=0)
    args = parser.parse_args()
    os.environ.update(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1",
                      OMPI_MCA_btl_vader_single_copy_mechanism="none", OMP_NUM_THREADS="1")
    draw = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as scratch:
        for fault in range(args.kills + args.hangs):
            reason = one_kill(args, Path(scratch) / f"run{fault}", draw, fault >= args.kills)
            if reason:
                print(f"fault {fault + 1}: {reason}", file=sys.stderr)
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
