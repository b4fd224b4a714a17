#!/usr/bin/env bash
# transformers_check.py under a Python that has torch and transformers; exit 77 (skipped): none.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
python=$("$here/../../scripts/transformers_python.sh") || exit 77
rm -rf "${2:?usage: transformers_check.sh BIN_DIR WORK_DIR [KIND ...]}"
exec "$python" "$here/transformers_check.py" "$@"
