#!/usr/bin/env bash
# Ranks with a GPU each, on all GPUs of this machine: builds, then runs scripts/multi_gpu_check.py
# (which says what its parts are) in under 9 minutes on 8 GPUs; the table comes last.
#
#   scripts/multi_gpu_check.sh OUT_DIR [nccl|layouts|losses|scaling|peer|faults ...]   default: all
#
# Exit 0: all passed; 1: something failed; 2: bad use, no GPU or no build.
# Environment: PYTHON (one with torch for the comparison; default python3), JOBS.
set -uo pipefail
if [[ -z ${1:-} ]]; then
  echo "multi_gpu_check: names no folder; usage: scripts/multi_gpu_check.sh OUT_DIR [PART ...]" >&2
  exit 2
fi
out=$(realpath -m "$1")
shift
cd "$(dirname "$0")/.." || exit 3
source scripts/mpi_env.sh
mkdir -p "$out"
{
  cmake --preset cuda -DSTRAIT_TESTS=ON &&
    cmake --build build-cuda -j "${JOBS:-$(core_count)}" \
      --target train layout_check comm_nccl_test
} >"$out/build.log" 2>&1 || {
  tail -n 25 "$out/build.log"
  exit 2
}
parts=()
if [[ $# -gt 0 ]]; then parts=(--parts "$@"); fi
exec "${PYTHON:-python3}" scripts/multi_gpu_check.py build-cuda "$out" "${parts[@]}"
