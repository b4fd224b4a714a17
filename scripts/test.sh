#!/usr/bin/env bash
# Installs what is missing, builds with warnings as errors, runs every test, prints the counts last.
#
#   scripts/test.sh [--preset PRESET]   one build (default: cpu, in build/)
#   scripts/test.sh --all               cpu with the long forms of its tests (transformers is
#                                       installed, 10 million fuzzing runs each, 200 kills),
#                                       every layout of ranks (scripts/layout_matrix.sh), 20
#                                       killed ranks, then --sanitize
#   scripts/test.sh --sanitize          every test under AddressSanitizer (leaks, too) and
#                                       UndefinedBehaviorSanitizer, those of threads under
#                                       ThreadSanitizer (presets asan and tsan)
#
# Exit 0: all passed; 1: a build or test failed, an area has no test, or a process of a sanitizer
# build left a report (scripts/sanitizer_reports.py); 2: bad option.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/mpi_env.sh

presets=(cpu)
threads=false
matrix=false
long=0
while [[ $# -gt 0 ]]; do
  case "$1" in
    --all) presets=(cpu asan) threads=true matrix=true long=1; shift ;;
    --sanitize) presets=(asan) threads=true; shift ;;
    --preset)
      if [[ -z ${2:-} ]]; then
        echo "test: --preset needs a name; cmake --list-presets shows them" >&2
        exit 2
      fi
      presets=("$2")
      shift 2 ;;
    *) echo "test: unknown option '$1'; see the head of scripts/test.sh" >&2; exit 2 ;;
  esac
done

unset STRAIT_LAUNCH_ONLY  # tests here compare what they launch
# Threads of tests that run side by side must not spin while they wait for each other.
export OMP_NUM_THREADS=2 OMP_WAIT_POLICY=passive

# Sends reports of sanitizers to files in the folder $1, because tests that expect a process to fail
# would not tell an error of its own from it. Leaks do not change exit codes: Open MPI has some.
report_to() {
  rm -rf "$1"
  mkdir -p "$1"
  local log="log_path=$PWD/$1/report"
  export ASAN_OPTIONS="$log:abort_on_error=1:handle_abort=1:exitcode=0:detect_leaks=1:\
detect_stack_use_after_return=1"
  export UBSAN_OPTIONS="$log:abort_on_error=1:print_stacktrace=1"
  export TSAN_OPTIONS="$log:suppressions=$PWD/tests/support/tsan.supp"
}

# Builds preset $1 and runs its tests; leaves tests.json and junit.xml in the folder $2.
# A failed test is found by count_tests.py, which reads those files.
run_preset() {
  local with_cuda=OFF
  if [[ $1 == cpu ]]; then with_cuda=$cuda; fi
  if [[ $1 == asan ]]; then report_to "$2/sanitizer_reports"; fi
  scripts/build.sh "$1" -DSTRAIT_WERROR=ON -DSTRAIT_TESTS=ON "-DSTRAIT_CUDA=$with_cuda"
  rm -f "$2/tests.json" "$2/junit.xml"
  ctest --test-dir "$2" --show-only=json-v1 >"$2/tests.json"
  if [[ $long == 1 && $1 == cpu ]]; then
    export STRAIT_INSTALL_TRANSFORMERS=1 STRAIT_FUZZ_RUNS=10000000 STRAIT_KILLS=100
  else
    unset STRAIT_INSTALL_TRANSFORMERS STRAIT_FUZZ_RUNS STRAIT_KILLS
  fi
  ctest --test-dir "$2" --output-on-failure --parallel "$(core_count)" --timeout 900 \
    --output-junit junit.xml || echo "test: ctest reports failures in $2"
  if [[ $1 == asan ]]; then
    scripts/sanitizer_reports.py "$2/sanitizer_reports" || clean=false
  fi
}

# Tests of what runs in threads: text pipelines, checkpoint writers, watchdogs. Of OpenMP one
# thread, for ThreadSanitizer does not see how its threads wait for each other.
run_threads() {
  local folder=build-tsan
  report_to "$folder/sanitizer_reports"
  scripts/build.sh tsan -DSTRAIT_WERROR=ON -DSTRAIT_TESTS=ON --target input_test io_test \
    parallel_test comm_mpi_test watchdog_hosts train
  local select
  for select in "-L ^(input|io|parallel)$" "-R ^faults[.]"; do
    # shellcheck disable=SC2086  # an option and its value
    OMP_NUM_THREADS=1 ctest --test-dir "$folder" $select --no-tests=error --output-on-failure \
      --parallel "$(core_count)" --timeout 1800 || clean=false
  done
  scripts/sanitizer_reports.py "$folder/sanitizer_reports" || clean=false
}

scripts/install_deps.sh --dev
# The CUDA code is compiled wherever that is possible; its tests skip themselves without a GPU.
cuda=OFF
if command -v nvcc >/dev/null; then cuda=ON; fi
folders=()
clean=true
for preset in "${presets[@]}"; do
  folder=build-$preset
  if [[ $preset == cpu ]]; then folder=build; fi
  folders+=("$folder")
  run_preset "$preset" "$folder"
done
if $matrix; then
  scripts/layout_matrix.sh build || { echo "test: layouts of ranks differ" >&2; exit 1; }
  python3 tests/faults/kill_ranks.py --train build/bin/train --kills 20 --hangs 3
fi
if $threads; then run_threads; fi
$clean || echo "test: failures under sanitizers, see above"
python3 scripts/count_tests.py "${folders[@]}"
$clean
