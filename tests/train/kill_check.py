#!/usr/bin/env python3
"""Kills a run with SIGKILL at random times, saves included, and resumes it until it is done.

  kill_check.py TRAIN MPIEXEC WORK_DIR KILLS [RANKS ...]

For each number of ranks (default 1 and 4): one undisturbed run, then one that is killed KILLS times
in all and resumed by --resume auto each time, at once. Of several ranks either all are killed, or
the launcher alone, or one rank: then the others may still write when the run is resumed, and are to
be waited for. Every start must find a whole checkpoint or begin anew, and the weights and states at
the end must have the undisturbed run's bits. Exit 0 or 1.
"""
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

STEPS = 60
SETTINGS = ["run.device=cpu", f"train.steps={STEPS}", "optim.warmup_steps=2", "model.n_layers=2",
            "data.seq_len=32", "train.batch_size=4", "eval.sequences=2", "eval.sample_tokens=0",
            "checkpoint.every=2", "checkpoint.keep=2", "train.log_every=10",
            "model.ffn.moe.selection_bias=true", "model.ffn.moe.bias_rate=0.01"]


def start(train, mpiexec, ranks, run, log):
    command = [train, "--config", "tiny_ccgqa_moe", "--resume", "auto"]
    for setting in [f"run.dir={run}", *SETTINGS]:
        command += ["--set", setting]
    if ranks > 1:
        command = [mpiexec, "--oversubscribe", "-n", str(ranks), *command]
    environment = dict(os.environ, OMP_NUM_THREADS="1", OMPI_ALLOW_RUN_AS_ROOT="1",
                       OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", OMPI_MCA_mpi_yield_when_idle="1")
    return subprocess.Popen([str(word) for word in command], stdout=log, stderr=log,
                            start_new_session=True, env=environment)


def members(session):
    """Processes of a session: ranks have groups of their own, which outlive mpiexec."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and os.getsid(int(entry.name)) == session:
                if (entry / "stat").read_text().rsplit(")", 1)[1].split()[0] != "Z":
                    found.append(int(entry.name))
        except OSError:
            pass  # it has ended
    return found


def kill_some(process, how, randomness):
    """Kills the launcher, or one rank, which the launcher then answers by ending the others. The
    launcher is not waited for yet, so that no other process gets its number."""
    ranks = [pid for pid in members(process.pid) if pid != process.pid]
    victim = process.pid if how == "launcher" or not ranks else randomness.choice(ranks)
    try:
        os.kill(victim, signal.SIGKILL)
    except ProcessLookupError:
        pass


def end_session(process):
    while left := members(process.pid):
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        process.poll()
        time.sleep(0.02)
    process.wait()


def tensors(run):
    folder = run / "checkpoints" / f"step_{STEPS:08d}"
    return {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}


def check(train, mpiexec, work, kills, ranks, left):
    """What went wrong, or None. Jobs that were not killed whole are added to `left`."""
    whole, killed = work / f"whole_{ranks}", work / f"killed_{ranks}"
    for folder in (whole, killed):
        shutil.rmtree(folder, ignore_errors=True)
    began = time.monotonic()
    with open(work / f"whole_{ranks}.log", "w") as log:
        if start(train, mpiexec, ranks, whole, log).wait() != 0:
            return f"the undisturbed run failed, see {log.name}"
    length = time.monotonic() - began
    randomness = random.Random(ranks)
    done = finished = 0
    hows = {"all": 0} if ranks == 1 else {"all": 0, "launcher": 0, "rank": 0}
    log_path = work / f"killed_{ranks}.log"
    with open(log_path, "w") as log:
        while done < kills:
            process = start(train, mpiexec, ranks, killed, log)
            try:
                code = process.wait(timeout=randomness.uniform(0.0, 0.6) * length)
            except subprocess.TimeoutExpired:
                how = randomness.choice(list(hows))
                if how == "all":
                    end_session(process)
                else:
                    kill_some(process, how, randomness)
                    left.append(process)
                hows[how] += 1
                done += 1
                continue
            if code != 0:
                return f"a restart ended with {code} after {done} kills, see {log_path}"
            finished += 1  # the run was done before its next kill: begin it again
            if tensors(killed) != tensors(whole):
                return f"the bits differ after {done} kills"
            shutil.rmtree(killed)
        if start(train, mpiexec, ranks, killed, log).wait() != 0:
            return f"the last restart failed, see {log_path}"
    if not tensors(whole) or tensors(killed) != tensors(whole):
        return f"the bits differ after {done} kills"
    text = log_path.read_text()
    leftovers = [p.name for p in (killed / "checkpoints").iterdir() if p.name.startswith(".tmp")]
    if leftovers:
        return f"temporary folders are left: {leftovers}"
    kills_by = ", ".join(f"{count} of {how}" for how, count in hows.items())
    print(f"ok    {ranks} rank(s): {done} kills ({kills_by}), {text.count('resumes ')} resumes, "
          f"{text.count('waits for another run')} of them waited, {finished + 1} runs to the end, "
          f"equal bits", flush=True)
    return None


def main():
    train, mpiexec, work = Path(sys.argv[1]).resolve(), sys.argv[2], Path(sys.argv[3]).resolve()
    kills = int(sys.argv[4])
    work.mkdir(parents=True, exist_ok=True)
    failures = 0
    for ranks in [int(word) for word in sys.argv[5:]] or [1, 4]:
        left = []
        try:
            fault = check(train, mpiexec, work, kills, ranks, left)
            # The last run could not begin while a rank of these lived.
            if not fault and any(members(process.pid) for process in left):
                fault = "a job whose launcher or rank was killed is still there"
        finally:
            for process in left:
                end_session(process)
        if fault:
            print(f"FAIL  {ranks} rank(s): {fault}", flush=True)
            failures += 1
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
