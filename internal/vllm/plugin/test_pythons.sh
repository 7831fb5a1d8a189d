#!/usr/bin/env bash
# Runs the plugin's tests under every Python from 3.10 to 3.13 that is found: those in
# PYTHONS (paths or names, separated by blanks) if it is set, otherwise pyenv's and those on
# PATH. A version that is not found is reported as SKIPPED; if none is found, the script fails.
set -euo pipefail
tests="$(cd "$(dirname "$0")" && pwd)/testdata/test_plugin.py"

version() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true; }

found=()
run=() # one interpreter of each version
consider() {
  local path v
  # The interpreter itself, because pyenv's shims take longer than a test.
  path=$("$1" -c 'import sys; print(sys.executable)' 2>/dev/null) || return 0
  v=$(version "$path")
  case " 3.10 3.11 3.12 3.13 " in *" $v "*) ;; *) return 0 ;; esac
  case " ${found[*]-} " in *" $v "*) return 0 ;; esac
  found+=("$v")
  run+=("$path")
}
if [ -n "${PYTHONS:-}" ]; then
  for python in $PYTHONS; do
    command -v "$python" >/dev/null || { echo "test-plugin: no $python" >&2; exit 1; }
    consider "$python"
  done
else
  for v in 3.10 3.11 3.12 3.13; do
    consider "python$v"
    for python in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$v".*/bin/python; do consider "$python"; done
  done
  consider python3
  for v in 3.10 3.11 3.12 3.13; do
    case " ${found[*]-} " in *" $v "*) ;; *) echo "test-plugin: SKIPPED: no Python $v here (pyenv install $v, or name it in PYTHONS)" >&2 ;; esac
  done
fi
[ "${#run[@]}" -gt 0 ] || { echo "test-plugin: no Python from 3.10 to 3.13 found: name one in PYTHONS" >&2; exit 1; }

# Two in parallel, because they mostly wait for processes to start.
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
printf '%s\n' "${run[@]}" | xargs -P 2 -I{} bash -c 'name=$(echo "$1" | tr / _); "$1" -B "$2" >"$3/$name" 2>&1 || touch "$3/$name.failed"' _ {} "$tests" "$logs"
status=0
for python in "${run[@]}"; do
  log="$logs/$(echo "$python" | tr / _)"
  if [ -e "$log.failed" ]; then
    status=1
    cat "$log" >&2
    echo "test-plugin: FAIL under $python" >&2
  else
    echo "test-plugin: ok under $python: $(grep -E '^Ran ' "$log")"
    grep -oE '[0-9]+\.[0-9]+ ms of CPU time.*' "$log" | sed 's/^/test-plugin:   /'
  fi
done
exit "$status"
