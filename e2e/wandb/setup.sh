#!/usr/bin/env bash
# Installs the real SDK of Weights & Biases into .e2e/wandb/venv (130 MB). That takes about
# ten seconds with a fast index, and no time if it is there already.
#
# Exit status: 0 if it is ready, 77 if (and only if) the packages cannot be fetched;
# anything else is a failure.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

WANDB_VERSION=0.31.0
RECIPE=1 # to be raised whenever the installation below changes
src=$PWD/e2e/wandb
work=${E2E_DIR:-$PWD/.e2e}/wandb
venv=$work/venv

say() { echo "e2e-wandb setup: $*" >&2; }
die() {
  say "FAILED: $*"
  exit 1
}

# wanted prints what identifies the wanted installation. The path is part of it because a
# virtual environment cannot be moved.
wanted() {
  echo "recipe $RECIPE wandb $WANDB_VERSION at $venv"
  cksum <"$src/constraints.txt"
}

# could_not_fetch LOG reports whether, according to the log of pip, the index or a file on
# it could not be reached. A full disk or a conflict between versions does not count: that
# is a fault of the recipe, which a skip would hide.
could_not_fetch() {
  if grep -qiE 'no space left|disk quota|read-only file system|permission denied' "$1"; then
    return 1
  fi
  grep -qiE \
    -e 'connection (refused|reset|timed out|broken)|connection error|name resolution|network is unreachable|no route to host|max retries exceeded|read timed out' \
    -e 'http error|403 forbidden|404 not found|certificate verify failed|sslerror|proxyerror|from versions: none' \
    "$1"
}

find_python() {
  local candidate
  for candidate in ${E2E_BASE_PYTHON:-python3.12 python3.11 python3}; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 9))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  die "no Python 3.9 or newer found; install one, or name it in E2E_BASE_PYTHON"
}

mkdir -p "$work"
# Two setups at once would damage each other.
if command -v flock >/dev/null; then
  exec 9>"$work/lock"
  flock 9
fi
if [ "$(cat "$venv/.ready" 2>/dev/null)" != "$(wanted)" ] || [ ! -x "$venv/bin/wandb" ]; then
  base=$(find_python)
  say "installing wandb $WANDB_VERSION with $("$base" --version) into $venv"
  rm -rf "$venv"
  "$base" -m venv "$venv" || die "cannot create a virtual environment (on Debian: apt-get install python3-venv)"
  for attempt in 1 2; do
    if "$venv/bin/pip" install --disable-pip-version-check --constraint "$src/constraints.txt" "wandb==$WANDB_VERSION" >"$work/pip.log" 2>&1; then
      wanted >"$venv/.ready"
      break
    fi
    tail -n 20 "$work/pip.log" >&2
    could_not_fetch "$work/pip.log" || die "pip install wandb==$WANDB_VERSION (full log: $work/pip.log)"
    [ "$attempt" = 1 ] || {
      cat >&2 <<EOF
SKIP: e2e-wandb: the Python package wandb $WANDB_VERSION cannot be fetched.
SKIP: To run the test, let pip reach a Python package index that has it (PIP_INDEX_URL
SKIP: or pip.conf, PIP_CERT, HTTPS_PROXY), and run
SKIP:     make e2e-wandb
EOF
      exit 77
    }
    sleep 3 # an index may fail for a moment
  done
fi
say "ready: wandb $WANDB_VERSION in $venv"
