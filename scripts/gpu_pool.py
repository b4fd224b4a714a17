"""Commands that need some of a machine's GPUs, beside each other where there are enough."""
import dataclasses
import os
import pathlib
import signal
import subprocess
import time


@dataclasses.dataclass
class Job:
    """A command for `gpus` GPUs, which it sees as the only ones. Its output goes to `log`."""
    name: str
    command: list
    gpus: int
    log: pathlib.Path
    limit: float = 120  # seconds
    code: int | None = None  # exit code; None: not started, or no time to end; -1: over the limit
    seconds: float = 0

    def output(self):
        return self.log.read_text() if self.log.exists() else ""


class GpuPool:
    """Hands out the first n of the GPUs that this process sees, and a share of its cores for each.
    """

    def __init__(self, gpus):
        self.gpus = gpus
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        self.names = visible.split(",") if visible else [str(i) for i in range(gpus)]
        self.cores = len(os.sched_getaffinity(0))

    def start(self, job, mine):
        environment = os.environ | {
            "CUDA_VISIBLE_DEVICES": ",".join(self.names[i] for i in mine),
            "MASTER_PORT": str(29511 + mine[0]),
            # Of each rank; one rank a GPU.
            "OMP_NUM_THREADS": str(max(1, self.cores // self.gpus)),
            "OMPI_MCA_hwloc_base_binding_policy": "none",  # not a core for each rank
        }
        with job.log.open("w") as log:
            return subprocess.Popen([str(part) for part in job.command], env=environment,
                                    stdout=log, stderr=subprocess.STDOUT, start_new_session=True)

    def run(self, jobs, deadline=float("inf")):
        """Runs jobs in their order, later ones beside earlier ones where GPUs are left; none is
        started after `deadline` (time.monotonic), and what runs then is ended."""
        waiting, running, free = list(jobs), [], set(range(self.gpus))
        try:
            while waiting or running:
                now = time.monotonic()
                if now > deadline:
                    waiting = []
                for job in list(waiting):
                    if job.gpus > len(free):
                        continue
                    mine = sorted(free)[:job.gpus]
                    free -= set(mine)
                    running.append(Running(job, self.start(job, mine), mine, now))
                    waiting.remove(job)
                for one in list(running):
                    if one.ended(now, deadline):
                        free |= set(one.gpus)
                        running.remove(one)
                time.sleep(0.05)
        finally:
            for one in running:
                end(one.process)


@dataclasses.dataclass
class Running:
    job: Job
    process: subprocess.Popen
    gpus: list
    since: float

    def ended(self, now, deadline):
        """Whether it is over by now, ended here if it is late."""
        self.job.seconds = now - self.since
        self.job.code = self.process.poll()
        if self.job.code is not None:
            return True
        if self.job.seconds > self.job.limit:
            self.job.code = -1
        elif now < deadline:
            return False
        end(self.process)
        return True


def end(process):
    """Ends a process and those it started."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, how)
        except ProcessLookupError:
            return
        try:
            process.wait(3)
            return
        except subprocess.TimeoutExpired:
            continue
