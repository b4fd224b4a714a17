#!/usr/bin/env bash
# Prints the path of a Python that has matplotlib: $PYTHON, the system's, or one in build/venv,
# made here on first use (40 MB from PyPI, lighter than the Debian package; that is the fallback).
# Exit 1, with advice on stderr, when there is none and none can be made.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 3
readonly kVenv=$PWD/build/venv

for python in ${PYTHON:+"$PYTHON"} python3 /usr/bin/python3 "$kVenv/bin/python"; do
  if "$python" -c 'import matplotlib' 2>/dev/null; then
    command -v "$python"
    exit 0
  fi
done

echo "plot_python: installing matplotlib into $kVenv" >&2
if python3 -m venv "$kVenv" >&2 && "$kVenv/bin/pip" install -q --retries 3 matplotlib >&2; then
  echo "$kVenv/bin/python"
  exit 0
fi
if [[ $(id -u) -eq 0 ]] &&
  apt-get install -qq -y --no-install-recommends python3-matplotlib >/dev/null 2>&1 &&
  /usr/bin/python3 -c 'import matplotlib' 2>/dev/null; then
  echo /usr/bin/python3
  exit 0
fi
echo "plot_python: no matplotlib, and it could not be installed; set PYTHON to a Python with it" >&2
exit 1
