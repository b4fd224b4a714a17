"""scripts/count_tests.py on reports that a real ctest writes: nothing bad may count as fine."""
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
sys.dont_write_bytecode = True
from count_tests import AREAS  # noqa: E402  (found through the path set above)

ALL_AREAS = "".join(f"add_test(NAME ok_{a} COMMAND true)\n"
                    f"set_tests_properties(ok_{a} PROPERTIES LABELS {a})\n" for a in AREAS)
SKIPS = ("add_test(NAME skips COMMAND sh -c \"exit 77\")\n"
         "set_tests_properties(skips PROPERTIES SKIP_RETURN_CODE 77 LABELS core)\n"
         "add_test(NAME off COMMAND true)\n"
         "set_tests_properties(off PROPERTIES DISABLED ON LABELS core)\n")


def count(tests):
    """Exit code and output lines of the counter for a project with these add_test lines."""
    with tempfile.TemporaryDirectory() as folder:
        lists = Path(folder) / "CMakeLists.txt"
        lists.write_text("cmake_minimum_required(VERSION 3.22)\nproject(sample NONE)\n"
                         f"enable_testing()\n{tests}", encoding="utf-8")
        build = Path(folder) / "build"
        subprocess.run(["cmake", "-S", folder, "-B", str(build)], check=True, capture_output=True)
        listing = subprocess.run(["ctest", "--test-dir", str(build), "--show-only=json-v1"],
                                 check=True, capture_output=True, text=True).stdout
        (build / "tests.json").write_text(listing, encoding="utf-8")
        subprocess.run(["ctest", "--test-dir", str(build), "--output-junit", "junit.xml"],
                       check=False, capture_output=True)
        done = subprocess.run([sys.executable, str(ROOT / "scripts/count_tests.py"), str(build)],
                              check=False, capture_output=True, text=True)
        return done.returncode, done.stdout.splitlines()


class CountTests(unittest.TestCase):
    def test_all_pass(self):
        code, lines = count(ALL_AREAS)
        self.assertEqual((code, lines[-1]), (0, f"{len(AREAS)} passed, 0 failed, 0 skipped"))

    def test_skipped_and_disabled_are_counted_and_named(self):
        code, lines = count(ALL_AREAS + SKIPS)
        self.assertEqual((code, lines[-1]), (0, f"{len(AREAS)} passed, 0 failed, 2 skipped"))
        self.assertIn("  skipped: skips", lines)
        self.assertIn("  skipped: off", lines)

    def test_bytes_of_a_parameter_are_no_part_of_a_name(self):
        skips = SKIPS.replace("skips", '"Kind/Of.Test/a  # GetParam() = 8-byte object <B5-22>"')
        lines = count(ALL_AREAS + skips)[1]
        self.assertIn("  skipped: Kind/Of.Test/a", lines)

    def test_failures_of_every_kind(self):
        code, lines = count(ALL_AREAS + "add_test(NAME bad COMMAND false)\n"
                            "add_test(NAME gone COMMAND /nonexistent/program)\n"
                            "add_test(NAME slow COMMAND sleep 5)\n"
                            "set_tests_properties(slow PROPERTIES TIMEOUT 1)\n")
        self.assertEqual((code, lines[-1]), (1, f"{len(AREAS)} passed, 3 failed, 0 skipped"))
        self.assertLessEqual({"  failed: bad", "  failed: gone", "  failed: slow"}, set(lines))

    def test_an_area_without_tests_fails(self):
        code, lines = count("".join(ALL_AREAS.splitlines(keepends=True)[2:]))
        self.assertEqual(code, 1)
        self.assertIn(f"  areas without a single test: {AREAS[0]}", lines)

    def test_no_tests_at_all_fails(self):
        code, lines = count("")
        self.assertEqual(code, 1, lines)

    def test_a_missing_report_is_bad_input(self):
        counter = [sys.executable, str(ROOT / "scripts/count_tests.py"), "/nonexistent"]
        done = subprocess.run(counter, check=False, capture_output=True)
        self.assertEqual(done.returncode, 2)


if __name__ == "__main__":
    unittest.main()
