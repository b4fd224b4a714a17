#!/usr/bin/env bash
# Installs the Debian packages that building, testing and running need and that are missing.
# Debian 12 and Ubuntu 24.04, as root or through sudo; at once when nothing is missing.
#
#   scripts/install_deps.sh           what a build and a run need
#   scripts/install_deps.sh --dev     also what the full test run likes to have (may be absent)
#
# Exit 0: all there; 2: unknown option; 3: something could not be installed.
set -euo pipefail

required=(build-essential cmake ninja-build ccache git ca-certificates
          openmpi-bin libopenmpi-dev libopenblas-openmp-dev
          nlohmann-json3-dev libspdlog-dev libxxhash-dev liblzma-dev libzstd-dev
          libsentencepiece-dev libgtest-dev python3 python3-venv)
wished=()
case "${1:-}" in
  "") ;;
  --dev)
    wished=(clang-format-14 python3-pyflakes)
    # Ubuntu has Chromium as a snap alone, which containers cannot run.
    if grep -qs '^ID=debian' /etc/os-release; then wished+=(chromium); fi ;;
  *) echo "install_deps: unknown option '$1'; the only one is --dev" >&2; exit 2 ;;
esac

# Prints those of the packages named that are not installed.
missing_of() {
  local package status
  for package in "$@"; do
    status=$(dpkg-query -W -f='${Status}' "$package" 2>/dev/null || true)
    if [[ $status != "install ok installed" ]]; then echo "$package"; fi
  done
}

# apt-get as root, waiting for other users of the package database.
apt_get() {
  local as_root=()
  if [[ $(id -u) -ne 0 ]]; then as_root=(sudo); fi
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq \
    -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@"
}

# Installs the packages named; mirrors and locks fail now and then, so it tries three times.
install_packages() {
  local attempt
  for attempt in 1 2 3; do
    if apt_get update && apt_get install -y --no-install-recommends "$@" >/dev/null; then
      return 0
    fi
    echo "install_deps: attempt $attempt of 3 failed" >&2
    if [[ $attempt -lt 3 ]]; then sleep $((5 * attempt)); fi
  done
  return 1
}

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  echo "install_deps: no apt here. Install by other means what these Debian packages hold:" >&2
  echo "  ${required[*]}" >&2
  echo "then build with scripts/build.sh" >&2
  exit 3
fi

mapfile -t missing < <(missing_of "${required[@]}")
mapfile -t missing_wished < <(missing_of "${wished[@]}")
if [[ ${#missing[@]} -eq 0 && ${#missing_wished[@]} -eq 0 ]]; then
  exit 0
fi
if [[ $(id -u) -ne 0 ]] && ! command -v sudo >/dev/null; then
  if [[ ${#missing[@]} -eq 0 ]]; then
    echo "install_deps: going on without ${missing_wished[*]} (neither root nor sudo)" >&2
    exit 0
  fi
  echo "install_deps: packages are missing, and there is neither root nor sudo. As root, run:" >&2
  echo "  apt-get update && apt-get install -y --no-install-recommends ${missing[*]}" >&2
  exit 3
fi

if [[ ${#missing[@]} -gt 0 ]]; then
  echo "install_deps: installing ${missing[*]}"
  if ! install_packages "${missing[@]}"; then
    echo "install_deps: could not install ${missing[*]}; see apt's messages above" >&2
    exit 3
  fi
fi
if [[ ${#missing_wished[@]} -gt 0 ]]; then
  echo "install_deps: installing ${missing_wished[*]}"
  if ! install_packages "${missing_wished[@]}"; then
    echo "install_deps: going on without ${missing_wished[*]}" >&2
  fi
fi
