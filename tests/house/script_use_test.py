"""Scripts that miss an argument say so, end with exit code 2 and start nothing."""
import subprocess
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MISUSED = (
    ("scripts/gpu_check.sh",),
    ("scripts/multi_gpu_check.sh",),
    ("scripts/test.sh", "--preset"),
    ("scripts/test.sh", "--bogus"),
    ("scripts/build.sh", "nosuch"),
    ("scripts/layout_matrix.sh", "nosuch"),
    ("scripts/layout_matrix.sh", "build", "nosuch"),
    ("scripts/install_deps.sh", "--bogus"),
    ("scripts/prepare_corpus.sh",),
    ("scripts/count_tests.py",),
    ("scripts/sanitizer_reports.py",),
    ("scripts/sanitizer_reports.py", "no/such/folder"),
    ("tests/bench/cpu_step.sh",),
    ("tests/bench/save_cost.sh", "build/bin/train"),
)


class Use(unittest.TestCase):
    def test_misuse_is_named_and_ends_with_2(self):
        for script, *arguments in MISUSED:
            with self.subTest(script=script, arguments=arguments):
                done = subprocess.run([ROOT / script, *arguments], check=False, timeout=30,
                                      cwd=ROOT, capture_output=True, text=True)
                self.assertEqual(done.returncode, 2, done.stderr)
                self.assertIn(Path(script).stem, done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main()
