#!/usr/bin/env python3
"""Ranks with a GPU each: the same answers as one rank, speed by number of GPUs, faults.

usage: multi_gpu_check.py BUILD_DIR OUT_DIR [--parts PART ...] [--rows ROW ...] [--gpus N]
                          [--budget SECONDS] [--device cpu]

Parts, all of them by default, on 1, 2, 4, ... up to all N GPUs:

  nccl     tests/parallel/mpi/comm_nccl_test
  layouts  tests/layout_check on N ranks in bf16: the configs of tests/layouts, ccgqa also in widths
           that the fast kernels take
  losses   50 steps on N ranks, and 25 that go on with half of them, against one rank, in float32
  scaling  tokens/s per GPU of configs/bench, the share of a step that stands in communication, and
           memory within its plan
  peer     tests/bench/torch_peer.py under DDP on the same shapes
  faults   one of N ranks is killed, the run goes on with half of them (tests/faults)

Runs that need fewer GPUs stand beside each other. Prints a table and writes OUT_DIR/multi_gpu.json
after every part. What the budget leaves no time for is told as "not run". --rows names rows of the
scaling table, all by default. --device cpu tries the script itself: the same parts but nccl and
peer, tiny models, ranks that share this machine.

Exit code 0 when all that ran passed, 1 when something failed, 2 on bad use. A rate below its bar is
told and is no failure.
"""
import argparse
import datetime
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

from gpu_pool import GpuPool, Job
from multi_gpu_rows import LOSS_MODEL, layouts_of, powers, scaling_rows, wide
from train_runs import ROOT, speed_of, train_command

PARTS = ("nccl", "layouts", "losses", "scaling", "peer", "faults")
MEMORY_LIMIT = 0.01  # of a plan, that a rank may take more
LOSS_LIMIT = "1e-4"  # relative, over 50 steps in float32: sums in another order, grown by training


class Check:
    """One run of the script: where things are, what came out, how much time is left."""

    def __init__(self, arguments):
        self.build, self.out = arguments.build.resolve(), arguments.out.resolve()
        self.device, self.gpus, self.rows = arguments.device, arguments.gpus, arguments.rows
        self.deadline = time.monotonic() + arguments.budget
        self.pool = GpuPool(self.gpus)
        self.report = {"date": datetime.datetime.now(datetime.timezone.utc).strftime("%FT%TZ"),
                       "gpus": self.gpus, "checks": {}, "scaling": {}, "peer": {}}
        self.failed = []

    def job(self, name, command, gpus, limit=120.0):
        return Job(name, command, gpus, self.out / f"{name}.log", limit)

    def run(self, jobs):
        self.pool.run(jobs, self.deadline)

    def judge(self, job, good=None, detail=""):
        """Keeps a check's verdict: by its exit code unless told otherwise."""
        good = job.code == 0 if good is None else good
        text = detail or (job.output().strip().splitlines() or [""])[-1][:100]
        verdict = "ok" if good else "FAIL"
        if job.code is None:
            verdict, text = "not run", "no time left" if job.seconds == 0 else "no time to end"
        self.report["checks"][job.name] = {"verdict": verdict, "seconds": round(job.seconds, 1),
                                           "detail": text}
        if verdict == "FAIL":
            self.failed.append(job.name)
            print(f"-- {job.name}: exit code {job.code}\n{job.output()[-1500:]}", flush=True)
        return good

    def train(self, name, config, settings, ranks, limit=120.0):
        """A training run in OUT_DIR/runs/NAME."""
        folder = self.out / "runs" / name
        subprocess.run(["rm", "-rf", folder], check=True)
        settings = {"run.dir": folder, "run.device": self.device} | settings
        return self.job(name, train_command(self.build, config, settings, ranks), ranks, limit)

    def folder(self, job):
        return self.out / "runs" / job.name

    def save(self):
        provenance = sorted(self.out.glob("runs/*/provenance.json"))
        if provenance:
            known = json.loads(provenance[0].read_text())
            self.report |= {key: known.get(key) for key in ("device", "driver", "cuda", "revision")}
        (self.out / "multi_gpu.json").write_text(json.dumps(self.report, indent=1) + "\n")


def nccl(check):
    test = check.build / "tests/parallel/mpi/comm_nccl_test"
    jobs = [check.job(f"nccl_{n}", ["mpirun", "-n", str(n), test, "--gtest_brief=1"], n, 60)
            for n in reversed(powers(check.gpus))]
    check.run(jobs)
    for job in jobs:
        check.judge(job, job.code == 0 and "no GPU and NCCL" not in job.output())


def layouts(check):
    cuda = check.device == "cuda"
    base = ["--device", check.device, "--dtype", "bf16" if cuda else "f64", "--steps", "0"]
    jobs = []
    configs = sorted((ROOT / "tests/layouts/configs").glob("*.json"),
                     key=lambda path: ("ccgqa" not in path.stem, path.stem))
    for config in configs if cuda else configs[:2]:
        names = layouts_of(check.gpus, "moe" in config.stem)
        command = [check.build / "tests/layout_check", "--config", config, "--layouts", names]
        jobs.append(check.job(f"layouts_{config.stem}", [*command, *base], check.gpus))
        if cuda and "ccgqa" in config.stem:
            settings = [part for pair in wide("moe" in config.stem) for part in ("--set", pair)]
            jobs.append(check.job(f"layouts_{config.stem}_wide", [*command, *base, *settings],
                                  check.gpus))
    check.run(jobs)
    for job in jobs:
        worst = re.findall(r"([\d.]+) naive errors", job.output())
        count = len(re.findall(r"(?m) ok$", job.output()))
        detail = f"{count} layouts agree" if job.code == 0 else ""
        if worst and detail:
            detail += f", worst {max(map(float, worst)):.2f} naive errors"
        check.judge(job, detail=detail)


def losses(check):
    """All steps on every kind of layout, and half of them that go on elsewhere."""
    steps = 50 if check.device == "cuda" else 6
    tiny = {} if check.device == "cuda" else {"data.seq_len": 64, "model.d_model": 64,
                                              "model.n_layers": 2, "train.batch_size": 8}
    settings = LOSS_MODEL | {"train.steps": steps} | tiny
    half = max(1, check.gpus // 2)
    meshes = {f"dp{check.gpus}": {}, f"tp{min(4, check.gpus)}": {"parallel.tp": min(4, check.gpus)},
              f"cp{check.gpus}": {"parallel.cp": check.gpus}}
    if check.gpus >= 4:
        meshes[f"dp{check.gpus // 4}tp2cp2"] = {"parallel.tp": 2, "parallel.cp": 2}
    config = "bench/dense_small.json"
    one = check.train("losses_one", config, settings, 1)
    runs = [check.train(f"losses_{name}", config, settings | mesh,
                        min(4, check.gpus) if name.startswith("tp") else check.gpus)
            for name, mesh in meshes.items()]
    first = check.train("resharded", config,
                        settings | {"train.steps": steps // 2, "checkpoint.every": 0},
                        check.gpus)
    check.run([one, first, *runs])
    for job in (one, first):
        check.judge(job)
    second = check.job("resharded_goes_on",
                       ["mpirun", "-n", str(half), check.build / "bin/train", "--resume",
                        check.folder(first), "--set", f"train.steps={steps}",
                        "--set", f"parallel.cp={half}"], half)
    if first.code == 0:
        check.run([second])
    for job in [*runs, second]:
        if job.code != 0 or one.code != 0:
            check.judge(job)
            continue
        run = check.folder(first if job is second else job)
        done = subprocess.run([sys.executable, ROOT / "scripts/compare_losses.py", run,
                               check.folder(one), "--relative", LOSS_LIMIT], text=True,
                              capture_output=True, check=False)
        check.judge(job, done.returncode == 0, (done.stdout + done.stderr).strip()[:100])


def over_plan(log):
    """The most that a rank took of its device beside its plan, in parts of that."""
    pairs = re.findall(r"memory of rank \d+: planned (\d+) B, taken (\d+) B", log)
    return max((int(taken) / int(planned) - 1 for planned, taken in pairs), default=0.0)


def scaling(check):
    rows = [row for row in scaling_rows(check.gpus, check.device == "cpu")
            if not check.rows or row.name in check.rows]
    jobs = {row.name: check.train("speed_" + row.name.replace(" ", "_"), row.config,
                                  row.settings | {"train.steps": row.steps,
                                                  "train.log_every": row.steps},
                                  row.ranks, row.limit) for row in rows}
    check.run(jobs.values())
    for row in rows:
        job = jobs[row.name]
        if job.code == 0:
            speed = speed_of(check.folder(job), row.warmup)
            speed["tok_s_gpu"] = speed["mean_tok_s"] / row.ranks
            speed["over_plan"] = over_plan(job.output())
            if speed["over_plan"] > MEMORY_LIMIT and check.device == "cuda":
                check.judge(job, False, f"took {100 * speed['over_plan']:.1f} % over its plan")
            check.report["scaling"][row.name] = speed | {
                "ranks": row.ranks, "bar": row.bar, "seconds": round(job.seconds, 1)}
        else:
            check.judge(job)
    done = check.report["scaling"]
    for row in rows:
        if row.name in done and row.base in done:
            done[row.name]["of_one"] = done[row.name]["tok_s_gpu"] / done[row.base]["tok_s_gpu"]


def peer(check):
    """DDP on all GPUs and PyTorch alone, beside our runs of the same shapes."""
    if check.device == "cpu":
        return
    jobs = {}
    for n in sorted({1, check.gpus}):  # what the first compiles the second finds
        jobs[n] = check.job(f"peer_{n}", [
            sys.executable, ROOT / "tests/bench/torch_peer.py", "train", "--attn", "ccgqa",
            "--sdpa", "default", "cudnn", "--n", "7", "--ddp", str(n)], n, 150)
        check.run([jobs[n]])
    for n, job in jobs.items():
        rates = [float(rate.replace(",", ""))
                 for rate in re.findall(r"([\d,]+) tokens/s", job.output())]
        if check.judge(job, bool(rates)):
            ours = check.report["scaling"].get("dense" if n == 1 else f"dense dp{n}", {})
            check.report["peer"][f"dense ddp{n}"] = {
                "tok_s": max(rates),
                "ratio": ours["mean_tok_s"] / max(rates) if ours else None}


def faults(check):
    if check.gpus < 2:
        return
    job = check.job("faults", [
        sys.executable, ROOT / "tests/faults/kill_ranks.py", "--train", check.build / "bin/train",
        "--kills", "1", "--ranks", str(check.gpus), "--device", check.device,
        "--resume-ranks", str(check.gpus // 2)], check.gpus, 150)
    check.run([job])
    check.judge(job, detail=job.output().strip().replace("\n", "; ")[:100])


def table(check):
    report = check.report
    lines = [f"{report['gpus']} x {report.get('device') or check.device}, driver "
             f"{report.get('driver') or '-'}, {report['date']}, revision "
             f"{report.get('revision') or '-'}", ""]
    for name, row in report["checks"].items():
        lines.append(f"{row['verdict']:8} {name:34} {row['seconds']:6.1f} s  {row['detail']}")
    if report["scaling"]:
        lines += ["", f"{'preset and layout':24} {'ranks':>5} {'tokens/s GPU':>12} {'MFU':>7} "
                  f"{'of one GPU':>10} {'bar':>6} {'communication':>13}"]
    for name, row in report["scaling"].items():
        bar = f"{row['bar']} %" if row["bar"] else "-"
        share = f"{100 * row['comm_share']:.1f} %" if "comm_share" in row else "-"
        of_one = f"{100 * row['of_one']:.1f} %" if "of_one" in row else "-"
        mfu = f"{100 * row['mfu']:.1f} %" if row.get("mfu") else "-"
        lines.append(f"{name:24} {row['ranks']:5} {row['tok_s_gpu']:12,.0f} {mfu:>7} {of_one:>10} "
                     f"{bar:>6} {share:>13}")
    for name, row in report["peer"].items():
        ratio = f"{row['ratio']:.2f}" if row["ratio"] else "-"
        lines.append(f"PyTorch {name:16} {row['tok_s']:12,.0f} tokens/s in all, ratio {ratio}")
    return "\n".join(lines)


def gpus_here():
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible:
        return len(visible.split(","))
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], text=True, capture_output=True, check=False)
    except FileNotFoundError:
        return 0
    return listed.stdout.count("GPU ")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--rows", nargs="+")
    parser.add_argument("--gpus", type=int, help="default: all there are; with --device cpu 2")
    parser.add_argument("--budget", type=float, default=530.0, help="seconds (530)")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    arguments = parser.parse_args()
    if arguments.gpus is None:
        arguments.gpus = 2 if arguments.device == "cpu" else gpus_here()
    if arguments.gpus < 1:
        parser.error("no GPU found (nvidia-smi -L); name their number with --gpus")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))  # what runs ends with the script
    check = Check(arguments)
    (check.out / "runs").mkdir(parents=True, exist_ok=True)
    os.chdir(ROOT)
    parts = {"nccl": nccl, "layouts": layouts, "losses": losses, "scaling": scaling, "peer": peer,
             "faults": faults}
    for name in arguments.parts:
        if name == "nccl" and check.device == "cpu":
            continue
        parts[name](check)
        check.save()
    print(table(check), flush=True)
    if check.failed:
        print("failed: " + " ".join(check.failed))
        sys.exit(1)
    print("all passed")


if __name__ == "__main__":
    main()
