"""scripts/gpu_pool.py and the rows of scripts/multi_gpu_check.py, without a GPU."""
import os
import re
import sys
import tempfile
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
from gpu_pool import GpuPool, Job  # noqa: E402
from multi_gpu_rows import layouts_of, scaling_rows  # noqa: E402


class Pool(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def job(self, name, gpus, script, limit=20.0):
        return Job(name, [sys.executable, "-c", script], gpus, Path(self.folder.name) / name, limit)

    def test_each_gpu_serves_one_job_at_a_time(self):
        # Each job holds a file for every GPU it sees; opening one twice fails.
        hold = ("import os, time\n"
                f"paths = [os.path.join({self.folder.name!r}, 'gpu' + i)\n"
                "         for i in os.environ['CUDA_VISIBLE_DEVICES'].split(',')]\n"
                "for path in paths: os.close(os.open(path, os.O_CREAT | os.O_EXCL))\n"
                "time.sleep(0.2)\n"
                "for path in paths: os.remove(path)\n"
                "print(len(paths))\n")
        jobs = [self.job(f"job{i}", gpus, hold) for i, gpus in enumerate([4, 1, 2, 1, 3, 2])]
        GpuPool(4).run(jobs)
        for job in jobs:
            self.assertEqual((job.code, job.output().strip()), (0, str(job.gpus)))

    def test_only_gpus_that_this_process_sees(self):
        before = os.environ.get("CUDA_VISIBLE_DEVICES")
        os.environ["CUDA_VISIBLE_DEVICES"] = "5,7"
        try:
            job = self.job("seen", 2, "import os; print(os.environ['CUDA_VISIBLE_DEVICES'])")
            GpuPool(2).run([job])
        finally:
            os.environ.pop("CUDA_VISIBLE_DEVICES")
            if before is not None:
                os.environ["CUDA_VISIBLE_DEVICES"] = before
        self.assertEqual(job.output().strip(), "5,7")

    def test_a_job_over_its_limit_ends_with_what_it_started(self):
        script = "import subprocess, time; subprocess.Popen(['sleep', '60']); time.sleep(60)"
        late, good = self.job("late", 1, script, limit=0.5), self.job("good", 1, "pass")
        started = time.monotonic()
        GpuPool(1).run([late, good])
        self.assertEqual((late.code, good.code), (-1, 0))
        self.assertLess(time.monotonic() - started, 20)

    def test_nothing_starts_behind_the_deadline(self):
        jobs = [self.job("first", 1, "import time; time.sleep(60)"), self.job("second", 1, "pass")]
        GpuPool(1).run(jobs, time.monotonic() + 0.5)
        self.assertEqual([job.code for job in jobs], [None, None])


class Rows(unittest.TestCase):
    def test_layouts_take_all_ranks(self):
        for ranks in (2, 4, 8):
            names = layouts_of(ranks, moe=True).split(",")
            self.assertEqual(len(names), len(set(names)))
            for name in names:
                sizes = dict(re.findall(r"(dp|cp|tp|ep)(\d+)", name))
                product = 1
                for axis in ("dp", "cp", "tp"):
                    product *= int(sizes.get(axis, 1))
                self.assertEqual(product, ranks, name)
                self.assertEqual(int(sizes.get("dp", 1)) % int(sizes.get("ep", 1)), 0, name)
        self.assertNotIn("ep", layouts_of(8, moe=False))

    def test_rows_are_compared_with_rows(self):
        for gpus in (1, 2, 4, 8):
            rows = scaling_rows(gpus, tiny=False)
            names = [row.name for row in rows]
            self.assertEqual(len(names), len(set(names)))
            for row in rows:
                self.assertTrue(1 <= row.ranks <= gpus, row.name)
                self.assertIn(row.base, names + [""])
                self.assertLess(row.warmup, row.steps)


if __name__ == "__main__":
    unittest.main()
