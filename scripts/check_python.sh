#!/usr/bin/env bash
# Names that nothing defines and imports that nothing uses, in every Python file. Exit 0: none;
# 1: some, named; 77: there is no pyflakes.
set -euo pipefail
cd "$(dirname "$0")/.."

for python in python3 /usr/bin/python3; do
  if "$python" -c 'import pyflakes' 2>/dev/null; then
    find scripts src tests -name '*.py' -print0 | xargs -0 "$python" -m pyflakes
    echo "check_python: clean"
    exit
  fi
done
echo "check_python: no pyflakes; skipped (Debian, Ubuntu: python3-pyflakes)"
exit 77
