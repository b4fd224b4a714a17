"""What scripts that start ./train share: commands, their logs, and what a run's folder says."""
import json
import pathlib
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent


def run(command, log):
    """Output of a command, also kept in a file; exits when it fails."""
    done = subprocess.run(command, cwd=ROOT, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False)
    log.write_text(done.stdout)
    if done.returncode != 0:
        print(f"{pathlib.Path(sys.argv[0]).stem}: {' '.join(map(str, command))}: exit code "
              f"{done.returncode}; see {log}\n" + done.stdout[-2000:], file=sys.stderr)
        sys.exit(1)
    return done.stdout


def train_command(build, config, settings, ranks=1):
    """./train of one config with settings {key: value}, under mpirun with several ranks."""
    start = ["mpirun", "-n", str(ranks)] if ranks > 1 else []
    command = [*start, build / "bin/train", "--config", config]
    for key, value in settings.items():
        command += ["--set", f"{key}={value}"]
    return command


def metrics_of(folder):
    """The objects of a run's metrics.jsonl."""
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def speed_of(folder, warmup, last=None):
    """Medians, and the mean rate, of a run's steps behind the first `warmup`, up to step `last`."""
    timed = [line for line in metrics_of(folder) if "tok_s" in line][warmup:last]

    def median(key):
        return statistics.median(line[key] for line in timed)

    known = timed[0]["mfu"] is not None  # the peak of the device
    tokens = sum(line["tok_s"] * line["step_s"] for line in timed)
    speed = {"tok_s": median("tok_s"),
             "mean_tok_s": tokens / sum(line["step_s"] for line in timed),
             "mfu": median("mfu") if known else None,
             "step_ms": 1e3 * median("step_s"),
             "phases_ms": {name: 1e3 * median(name + "_s")
                           for name in ("data", "forward", "head", "backward", "optimizer")}}
    if "comm_s" in timed[0]:
        speed["comm_ms"] = 1e3 * median("comm_s")
        speed["comm_share"] = statistics.median(
            line["comm_s"] / line["step_s"] for line in timed)
    return speed


def memory_of(folder):
    """Planned and measured bytes of rank 0."""
    memory = next(line for line in metrics_of(folder) if line.get("event") == "memory")
    return {key: memory[key] for key in ("planned_bytes", "measured_bytes")}
