#!/usr/bin/env bash
# Tests the Python package under every Python from 3.10 to 3.13 that is found: those in PYTHONS
# (paths or names, separated by blanks) if it is set, otherwise pyenv's and those on PATH. Each gets
# an environment of its own in .e2e, with what requirements-test.txt lists. A version that is not
# found is reported as SKIPPED, and so is everything without PyPI.
#
# WHEEL=FILE tests an installed wheel instead of the source tree.
set -euo pipefail
cd "$(dirname "$0")/.."
versions="3.10 3.11 3.12 3.13"
place=$PWD/.e2e/python
requirements=python/requirements-test.txt

find_python() { # VERSION: prints the path of its interpreter
	local python
	for python in ${PYTHONS:-"python$1" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$1".*/bin/python python3}; do
		"$python" -c 'import sys; sys.exit("%d.%d" % sys.version_info[:2] != sys.argv[1]); ' "$1" 2>/dev/null || continue
		"$python" -c 'import sys; print(sys.executable)'
		return
	done
	return 1
}

# uv installs each version of a package once, and links it into the environments.
UV=$place/uv/bin/uv
export UV_CACHE_DIR=$place/cache UV_PYTHON_DOWNLOADS=never
if [ ! -x "$UV" ]; then
	python3 -m pip install -q --disable-pip-version-check --root-user-action ignore --no-deps --target "$place/uv" uv==0.13.9 ||
		{ echo "SKIPPED: check-python: uv cannot be installed: it needs python3 with pip, and PyPI" >&2; exit 0; }
fi

ran=0 status=0
for v in $versions; do
	if ! python=$(find_python "$v"); then
		echo "check-python: SKIPPED: no Python $v here (pyenv install $v, or name it in PYTHONS)" >&2
		continue
	fi
	venv=$place/$v
	if ! cmp -s "$requirements" "$venv/requirements.txt"; then
		rm -rf "$venv"
		"$UV" venv -q --python "$python" "$venv"
		"$UV" pip install -q --python "$venv/bin/python" -r "$requirements" || { echo "check-python: SKIPPED: what Python $v needs cannot be installed from PyPI" >&2; continue; }
		cp "$requirements" "$venv/requirements.txt"
	fi
	path=python
	if [ -n "${WHEEL:-}" ]; then
		path=$(mktemp -d)
		"$UV" pip install -q --no-deps --target "$path" "$WHEEL"
	fi
	echo "check-python: $("$venv/bin/python" -c 'import platform, pydantic; print("Python", platform.python_version(), "pydantic", pydantic.VERSION)')"
	PYTHONPATH=$path "$venv/bin/python" -B -m pytest -q -p no:cacheprovider python/tests || status=1
	[ "$path" = python ] || rm -rf "$path"
	ran=$((ran + 1))
done
[ "$ran" -gt 0 ] || echo "SKIPPED: check-python: no Python from 3.10 to 3.13 with pydantic" >&2
exit "$status"
