#!/usr/bin/env bash
# Prints the path of a Python that can import a module: $PYTHON, the system's, or one in a virtual
# environment under build/, made here on first use from PyPI.
#
#   scripts/python_with.sh MODULE [PACKAGE...]    PACKAGE: what pip installs for it (MODULE)
#
# Exit 1, with advice on stderr, when there is none and none can be made.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 3
readonly kModule=${1:?usage: scripts/python_with.sh MODULE [PACKAGE...]}
shift
readonly kVenv=$PWD/build/venv-$kModule

# One at a time: several ranks or tests may need it at once.
mkdir -p build
exec 9>"build/venv-$kModule.lock"
flock 9
for python in ${PYTHON:+"$PYTHON"} python3 /usr/bin/python3 "$kVenv/bin/python"; do
  if "$python" -c "import $kModule" 2>/dev/null; then
    command -v "$python"
    exit 0
  fi
done

echo "python_with: installing ${*:-$kModule} into $kVenv" >&2
if python3 -m venv "$kVenv" >&2 &&
  "$kVenv/bin/pip" install -q --retries 2 --timeout 20 "${@:-$kModule}" >&2 9>&-; then
  echo "$kVenv/bin/python"
  exit 0
fi
echo "python_with: no $kModule, and it could not be installed; set PYTHON to a Python with it" >&2
exit 1
