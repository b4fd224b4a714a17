#!/usr/bin/env bash
# Prints the path of a Python that has torch and transformers: $PYTHON, the system's, or the one in
# build/transformers_venv. That one is made here when STRAIT_INSTALL_TRANSFORMERS is set (several GB
# from PyPI, a few minutes), as scripts/test.sh --all does.
# Exit 1, with advice on stderr, when there is none.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 3
readonly kVenv=${STRAIT_TRANSFORMERS_VENV:-$PWD/build/transformers_venv}
readonly kPackages=("torch==2.11.0" "transformers==5.17.0" numpy)

for python in ${PYTHON:+"$PYTHON"} python3 "$kVenv/bin/python"; do
  if "$python" -c 'import torch, transformers.models.zaya' 2>/dev/null; then
    command -v "$python"
    exit 0
  fi
done
if [[ -z ${STRAIT_INSTALL_TRANSFORMERS:-} ]]; then
  echo "transformers_python: none has torch and transformers; set PYTHON to one that has, or" \
    "STRAIT_INSTALL_TRANSFORMERS=1 to install them" >&2
  exit 1
fi
echo "transformers_python: installing ${kPackages[*]} into $kVenv" >&2
if python3 -m venv "$kVenv" >&2 &&
  "$kVenv/bin/pip" install -q --retries 3 --only-binary :all: "${kPackages[@]}" >&2; then
  echo "$kVenv/bin/python"
  exit 0
fi
echo "transformers_python: could not install ${kPackages[*]}" >&2
exit 1
