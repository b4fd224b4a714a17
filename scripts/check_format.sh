#!/usr/bin/env bash
# Compares every C++ file with .clang-format. Exit 0: formatted; 1: not, files named; 77: there is
# no clang-format of the pinned major version (others lay out the same code differently).
set -euo pipefail
cd "$(dirname "$0")/.."
readonly kMajor=14

formatter=""
for candidate in "clang-format-$kMajor" clang-format; do
  if "$candidate" --version 2>/dev/null | grep -q "version $kMajor\."; then
    formatter=$candidate
    break
  fi
done
if [[ -z $formatter ]]; then
  echo "check_format: no clang-format $kMajor; skipped (Debian, Ubuntu: clang-format-$kMajor)"
  exit 77
fi
find src kernels tests \( -name '*.h' -o -name '*.cc' -o -name '*.cu' -o -name '*.cuh' \) -print0 |
  xargs -0 "$formatter" --dry-run --Werror
echo "check_format: clean"
