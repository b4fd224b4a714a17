#!/usr/bin/env bash
# Configures and builds one preset of CMakePresets.json (default: cpu, in build/).
#
#   scripts/build.sh [PRESET] [-DNAME=VALUE ...] [options of cmake --build, e.g. --target train]
#
# Exit 0: built; 1: does not compile; 2: unknown preset; 3: cmake or ninja is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

preset=cpu
if [[ $# -gt 0 && $1 != -* ]]; then
  preset=$1
  shift
fi
definitions=()
while [[ $# -gt 0 && $1 == -D* ]]; do
  definitions+=("$1")
  shift
done

if ! command -v cmake >/dev/null || ! command -v ninja >/dev/null; then
  echo "build: cmake or ninja is missing; run scripts/install_deps.sh first" >&2
  exit 3
fi
# Listed as:   "cpu"   - Optimised CPU build ...
if ! cmake --list-presets | grep -q "^ *\"$preset\" "; then
  echo "build: unknown preset '$preset'; known:" >&2
  cmake --list-presets | tail -n +3 >&2
  exit 2
fi
cmake --preset "$preset" "${definitions[@]}"
cmake --build --preset "$preset" "$@"
