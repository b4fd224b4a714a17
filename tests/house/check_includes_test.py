"""scripts/check_includes.py passes a clean tree and names every kind of violation in a bad one."""
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

CLEAN = {
    "kernels/norm.h": '#include <cstdint>\n#include "kernels/check.h"\n',
    "kernels/launch.cc": '#include "kernels/norm.h"\n#include "kernels/cpu/run.h"\n',
    "kernels/cpu/gemm.cc": '#include <cblas.h>\n#include <omp.h>\n#include "kernels/gemm.h"\n',
    "src/core/log.cc": '#include <spdlog/spdlog.h>\n#include "core/log.h"\n',
    "src/config/parse.cc": '#include <nlohmann/json.hpp>\n#include "core/error.h"\n',
    "src/parallel/comm_mpi.cc": '#include <mpi.h>\n#include "kernels/tensor.h"\n',
    "src/layers/attention/cca.cc": '#include "parallel/mesh.h"\n#include "kernels/cca.h"\n',
    "src/train/loop.cc": '#include <unistd.h>\n#include "io/checkpoint.h"\n',
    "tests/io/checkpoint_test.cc": '#include <gtest/gtest.h>\n#include "io/checkpoint.h"\n',
    "README.md": "Strait\n",
}

# (file, contents, what the message must say)
BAD = [
    ("kernels/norm.h", '#include "core/tensor.h"\n', '"core/tensor.h" is not allowed'),
    ("kernels/norm.h", '#include "kernels/cpu/run.h"\n', "is not allowed"),
    ("kernels/norm.h", "#include <sys/mman.h>\n", "is POSIX"),
    ("kernels/norm.h", "#include <math.h>\n", "no known library"),
    ("kernels/launch.cc", '#include "kernels/cpu/real.h"\n', "is not allowed"),
    ("kernels/cpu/gemm.cc", "#include <mpi.h>\n", "is MPI"),
    ("kernels/cpu/gemm.cc", '#include "real.h"\n', "is not allowed"),
    ("src/core/arena.cc", "#include <spdlog/spdlog.h>\n", "is spdlog"),
    ("src/core/arena.cc", "  # include <nlohmann/json.hpp>\n", "is nlohmann/json"),
    ("src/core/arena.cc", '#include "config/config.h"\n', "is not allowed"),
    ("src/config/parse.cc", '#include "kernels/tensor.h"\n', "is not allowed"),
    ("src/layers/linear.cc", "#include <mpi.h>\n", "is MPI"),
    ("src/layers/linear.cc", "#include <omp.h>\n", "is OpenMP"),
    ("src/layers/linear.cc", '#include "model/transformer.h"\n', "is not allowed"),
    ("src/layers/linear.cc", '#include "kernels/cpu/run.h"\n', "is not allowed"),
    ("src/optim/adamw.cc", '#include "layers/layer.h"\n', "is not allowed"),
    ("src/io/checkpoint.cc", '#include "optim/adamw.h"\n', "is not allowed"),
    ("src/train/loop.cc", "#include <nlohmann/json.hpp>\n", "is nlohmann/json"),
    ("src/ablate/run.cc", '#include "train/loop.h"\n', "is not allowed"),
    ("src/parallel/mesh.cc", "#include <nccl.h>\n", "is CUDA"),
    ("src/extra/thing.cc", "#include <vector>\n", "no row of the include table"),
    ("src/core/long.cc", "\n" * 701, "701 lines"),
    ("src/core/wide.cc", "int x = " + "1" * 101 + ";\n", "columns"),
    ("src/core/accent.cc", "// na\u00efve\n", "not ASCII"),
    ("scripts/later.sh", "# TODO: tidy\n", "issue number"),
    ("src/core/tall.cc", "void f(int a,\n       int b) {\n" + "  g();\n" * 79 + "}\n",
     "function of 82 lines"),
    ("notes/idea.md", "x\n", "not a top-level name"),
]


def run(files):
    """Exit code and output of the checker on a tree of these files."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            path = Path(folder) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        checker = [sys.executable, str(ROOT / "scripts/check_includes.py"), folder]
        done = subprocess.run(checker, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr


class CheckIncludes(unittest.TestCase):
    def test_clean_tree_passes(self):
        code, output = run(CLEAN)
        self.assertEqual(code, 0, output)
        self.assertIn(" 0 violations", output)

    def test_every_violation_is_named(self):
        for name, text, message in BAD:
            with self.subTest(file=name, message=message):
                code, output = run(CLEAN | {name: text})
                self.assertEqual(code, 1, output)
                self.assertIn(message, output)
                self.assertIn(name.split("/")[0], output)
                self.assertIn(" 1 violations", output)

    def test_numbered_task_and_exact_limits_pass(self):
        code, output = run(CLEAN | {
            "src/core/long.cc": "\n" * 700,
            "src/core/wide.cc": "/" * 100 + "\n",
            "src/core/task.cc": "// TODO(#7): the rest\n",
            "src/core/tall.cc": "void f() {\n" + "  g();\n" * 78 + "}\n"})
        self.assertEqual(code, 0, output)

    def test_no_sources_is_bad_input(self):
        self.assertEqual(run({"README.md": "Strait\n"})[0], 2)


if __name__ == "__main__":
    unittest.main()
