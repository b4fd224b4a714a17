"""scripts/compare_losses.py on curves with known differences."""
import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "scripts/compare_losses.py"


class CompareLosses(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def run_of(self, name, curve):
        """A run with this loss curve and an event between its steps."""
        path = Path(self.folder.name) / name
        path.mkdir()
        lines = [{"event": "start"}] + [{"step": i + 1, "loss": x} for i, x in enumerate(curve)]
        (path / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
        return str(path)

    def compare(self, *arguments):
        done = subprocess.run([sys.executable, str(SCRIPT), *arguments], check=False,
                              capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    def test_single_steps(self):
        a, b = self.run_of("a", [2.0, 1.01, 1.0]), self.run_of("b", [2.0, 1.0, 1.0])
        self.assertEqual(self.compare(a, a)[0], 0)
        code, text = self.compare(a, b, "--relative", "0.009")
        self.assertEqual(code, 1)
        self.assertIn("1.000e-02 in the window of 1 from step 2", text)
        self.assertEqual(self.compare(a, b, "--relative", "0.011")[0], 0)
        self.assertEqual(self.compare(a, b, "--steps", "1")[0], 0)

    def test_windows_average_steps(self):
        a = self.run_of("a", [1.1, 0.9, 1.0, 1.2, 5.0])
        b = self.run_of("b", [1.0, 1.0, 1.0, 1.0, 1.0])
        code, text = self.compare(a, b, "--window", "2", "--relative", "0.09")
        self.assertEqual(code, 1)
        self.assertIn("1.000e-01 in the window of 2 from step 3", text)
        self.assertEqual(self.compare(a, b, "--window", "2", "--relative", "0.11")[0], 0)

    def test_pairs_are_averaged(self):
        runs = [self.run_of(f"r{i}", [x]) for i, x in enumerate((1.1, 1.0, 0.9, 1.0))]
        self.assertEqual(self.compare(*runs, "--relative", "1e-12")[0], 0)
        self.assertEqual(self.compare(*runs[:2], "--relative", "1e-12")[0], 1)

    def test_what_cannot_be_compared(self):
        a, b = self.run_of("a", [1.0, 1.0]), self.run_of("b", [1.0])
        for arguments in ((a,), (a, b), (a, "nowhere"), (a, a, "--window", "3"),
                          (a, a, "--steps", "3"), (a, self.run_of("empty", []))):
            self.assertEqual(self.compare(*arguments)[0], 2, arguments)


if __name__ == "__main__":
    unittest.main()
