#!/usr/bin/env bash
# Prints the path of a Python that has matplotlib: as python_with.sh (40 MB from PyPI, lighter than
# the Debian package), or else the system's with that package.
# Exit 1, with advice on stderr, when there is none and none can be made.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 3

scripts/python_with.sh matplotlib && exit
if [[ $(id -u) -eq 0 ]] &&
  apt-get install -qq -y --no-install-recommends python3-matplotlib >/dev/null 2>&1 &&
  /usr/bin/python3 -c 'import matplotlib' 2>/dev/null; then
  echo "plot_python: installed the system's matplotlib instead" >&2
  echo /usr/bin/python3
  exit 0
fi
exit 1
