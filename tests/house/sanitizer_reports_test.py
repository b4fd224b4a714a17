"""scripts/sanitizer_reports.py on reports as GCC writes them: nothing but leaks may be foreign."""
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LEAKS = """
=================================================================
==7==ERROR: LeakSanitizer: detected memory leaks

Direct leak of 4816 byte(s) in 7 object(s) allocated from:
    #0 0x7f in __interceptor_malloc ../../../../src/libsanitizer/asan/asan_malloc_linux.cpp:69
    #1 0x7f in ompi_op_base_op_select (/lib/x86_64-linux-gnu/libmpi.so.40+0xdbd31)

Indirect leak of 16 byte(s) in 1 object(s) allocated from:
    #0 0x7f in __interceptor_malloc ../../../../src/libsanitizer/asan/asan_malloc_linux.cpp:69
    #1 0x7f  (<unknown module>)
"""
OWN_LEAK = """
Direct leak of 77 byte(s) in 1 object(s) allocated from:
    #0 0x7f in operator new[](unsigned long) ../../../../src/libsanitizer/asan/asan_new.cpp:98
    #1 0x55 in main {frame}
"""
SUMMARY = "\nSUMMARY: AddressSanitizer: 4832 byte(s) leaked in 8 allocation(s).\n"
OVERFLOW = """=================================================================
==7==ERROR: AddressSanitizer: heap-buffer-overflow on address 0x60 at pc 0x56 bp 0x7f sp 0x7f
READ of size 1 at 0x60 thread T0
    #0 0x56 in memcpy (/lib/x86_64-linux-gnu/libc.so.6+0x1)
"""
RACE = """==================
WARNING: ThreadSanitizer: data race (pid=7)
  Write of size 4 at 0x7f by thread T1:
    #0 strait::io::f() ../src/io/f.cc:8 (train+0x1)
"""
SHIFT = """src/io/f.cc:3:54: runtime error: shift exponent 64 is too large for 64-bit type 'long'
    #0 0x56 in strait::io::f() ../src/io/f.cc:3
"""


def judge(*texts):
    """Exit code and output for a folder with one file for each text."""
    with tempfile.TemporaryDirectory() as folder:
        for i, text in enumerate(texts):
            (Path(folder) / f"report.{i}").write_text(text, encoding="utf-8")
        done = subprocess.run([sys.executable, ROOT / "scripts/sanitizer_reports.py", folder],
                              check=False, capture_output=True, text=True)
        return done.returncode, done.stdout


class SanitizerReports(unittest.TestCase):
    def test_nothing_is_well(self):
        self.assertEqual(judge()[0], 0)

    def test_leaks_of_libraries_alone_are_left_out(self):
        code, output = judge(LEAKS + SUMMARY)
        self.assertEqual(code, 0)
        self.assertIn("0 reports, 0 different; 2 leaks of libraries alone left out", output)

    def test_a_leak_of_this_project_counts(self):
        for frame in ("../src/io/f.cc:3", f"{ROOT}/tests/io/f_test.cc:3"):
            with self.subTest(frame=frame):
                code, output = judge(LEAKS + OWN_LEAK.format(frame=frame) + SUMMARY)
                self.assertEqual(code, 1)
                self.assertIn("1 reports, 1 different; 2 leaks", output)
                self.assertNotIn("libmpi", output)

    def test_everything_else_counts_wherever_it_is(self):
        for text in (OVERFLOW, RACE, SHIFT):
            with self.subTest(text=text):
                self.assertEqual(judge(text, LEAKS)[0], 1)

    def test_the_same_of_two_processes_is_shown_once(self):
        code, output = judge(OVERFLOW, OVERFLOW.replace("==7==", "==8=="), OVERFLOW + SHIFT)
        self.assertEqual(code, 1)
        self.assertEqual(output.count("heap-buffer-overflow"), 1)
        self.assertIn("4 reports, 2 different", output)


if __name__ == "__main__":
    unittest.main()
